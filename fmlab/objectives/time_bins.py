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
        self._batches: list[tuple[Tensor, Tensor]] = []

    def add(self, losses: Tensor, t: Tensor) -> None:
        """Keeps one batch until the report: a loss and a time a sample, both of shape (B,)."""
        self._batches.append((losses.detach(), t))

    def take(self) -> Tensor:
        """(sum of losses, number of samples) a bin, of shape (2, bins), and starts again from 0.

        The sums of several processes add up.
        """
        if not self._batches:
            return torch.zeros(2, self.bins)
        losses, t = (torch.cat(parts).float() for parts in zip(*self._batches))
        self._batches = []
        index = (t * self.bins).long().clamp_(0, self.bins - 1)
        totals = torch.zeros(2, self.bins, device=losses.device)
        totals[0].index_add_(0, index, losses)
        totals[1].index_add_(0, index, torch.ones_like(losses))
        return totals
