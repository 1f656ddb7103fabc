"""The training loss by time: where along the path the network is wrong."""

from __future__ import annotations

import torch
from torch import Tensor


class LossByTime:
    """Sums of the loss in equal bins of t between two reports.

    Args:
        bins: The number of bins of [0, 1].
    """

    def __init__(self, bins: int = 10) -> None:
        self.bins = bins
        self.totals: Tensor | None = None

    def add(self, losses: Tensor, t: Tensor) -> None:
        """Adds one batch: a loss and a time a sample, both of shape (B,)."""
        index = (t * self.bins).long().clamp_(0, self.bins - 1)
        if self.totals is None or self.totals.device != losses.device:
            self.totals = torch.zeros(2, self.bins, device=losses.device)
        self.totals[0].index_add_(0, index, losses.detach().float())
        self.totals[1].index_add_(0, index, torch.ones_like(t, dtype=torch.float32))

    def take(self) -> Tensor:
        """(sum of losses, number of samples) a bin, of shape (2, bins), and starts again from 0.

        The sums of several processes add up.
        """
        totals = self.totals if self.totals is not None else torch.zeros(2, self.bins)
        self.totals = None
        return totals
