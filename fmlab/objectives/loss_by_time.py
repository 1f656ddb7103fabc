"""The training loss by time: where along the path the network is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def time_bin(t: Tensor, bins: int) -> Tensor:
    """Which of `bins` equal parts of [0, 1] each time lies in, shaped like `t`."""
    return (t * bins).long().clamp_(0, bins - 1)


class LossByTime:
    """Sums of the loss in equal bins of t between two reports.

    Args:
        bins: The number of bins of [0, 1].
    """

    def __init__(self, bins: int = 10) -> None:
        self.bins = bins
        self._batches: list[tuple[Tensor, Tensor]] = []

    def add(self, losses: Tensor, t: Tensor) -> None:
        """Adds a batch: one loss and one time per sample, both of shape (B,)."""
        self._batches.append((losses.detach(), t))

    def pending(self) -> tuple[list[int], Tensor]:
        """The sizes of the batches since the last report, and their losses and times, float32 of shape (2, B)."""
        if not self._batches:
            return [], torch.zeros(2, 0)
        losses, t = (torch.cat(parts).float() for parts in zip(*self._batches))
        return [len(batch) for batch, _ in self._batches], torch.stack([losses, t])

    def restore(self, sizes: list[int], pending: Tensor) -> None:
        """Sets the batches since the last report to what `pending` gave."""
        self._batches = [(losses, t) for losses, t in (part.unbind() for part in pending.split(sizes, dim=1))]

    def ages_of_nonfinite(self) -> Tensor:
        """For each bin, how many batches ago the first loss came that is not finite: 1 is the latest batch, 0 never.

        One more number follows: the same over all bins if that batch had a finite loss too, else 0. Integers of shape
        (bins + 1,) on the device of the losses. Times that are not finite count for every bin.
        """
        ages = torch.zeros(self.bins + 1, dtype=torch.int64)
        if not self._batches:
            return ages
        losses, t = (torch.cat(parts).float() for parts in zip(*self._batches))
        ages = ages.to(losses.device)
        sizes = torch.tensor([len(batch) for batch, _ in self._batches])
        age = torch.arange(len(sizes), 0, -1).repeat_interleave(sizes).to(losses.device)
        bad = ~(losses.isfinite() & t.isfinite())
        ages[:-1].scatter_reduce_(0, time_bin(t.nan_to_num(), self.bins), age * bad, "amax")
        oldest = (age * bad).max()
        ages[:-1] = torch.where(t.isfinite().all(), ages[:-1], oldest)
        ages[-1] = torch.where(((age == oldest) & ~bad).any(), oldest, 0)
        return ages

    def forget(self, batches: int) -> None:
        """Drops the latest batches."""
        del self._batches[len(self._batches) - batches :]

    def take(self) -> Tensor:
        """Returns (sum of losses, number of samples) a bin, of shape (2, bins), and starts again from 0.

        The sums of several processes add up.
        """
        if not self._batches:
            return torch.zeros(2, self.bins)
        losses, t = (torch.cat(parts).float() for parts in zip(*self._batches))
        self._batches = []
        index = time_bin(t, self.bins)
        totals = torch.zeros(2, self.bins, device=losses.device)
        totals[0].index_add_(0, index, losses)
        totals[1].index_add_(0, index, torch.ones_like(losses))
        return totals


@dataclass(frozen=True)
class Mean:
    """A mean of independent draws.

    Attributes:
        value: The mean; NaN of no draws.
        error: Its standard error; NaN of fewer than two draws.
        draws: How many there were.
    """

    value: float
    error: float
    draws: int


class MeansByTime:
    """Means of several quantities in equal bins of t, with their standard errors.

    Attributes:
        totals: (number of draws, sum of each quantity, sum of each one's squares) a bin, float64 of shape
            (bins, 1 + 2 x quantities), on the CPU. The totals of several processes add up.

    Args:
        names: The quantities.
        bins: The number of bins of [0, 1].
    """

    def __init__(self, names: Sequence[str], bins: int = 10) -> None:
        self.names, self.bins = list(names), bins
        self.totals = torch.zeros(bins, 1 + 2 * len(names), dtype=torch.float64)

    def add(self, t: Tensor, values: Tensor) -> None:
        """Counts a batch: times of shape (B,), and a row of B values per quantity, in the order of the names."""
        rows = values.detach().mT.cpu().double()
        rows = torch.cat([torch.ones(len(rows), 1, dtype=torch.float64), rows, rows.square()], 1)
        self.totals.index_add_(0, time_bin(t.cpu(), self.bins), rows)

    def by_bin(self, name: str) -> list[Mean]:
        """The mean in each bin."""
        return [self._mean(name, total) for total in self.totals]

    def overall(self, name: str) -> Mean:
        """The mean of all draws."""
        return self._mean(name, self.totals.sum(0))

    def record(self) -> dict[str, Any]:
        """Everything in plain values, as JSON knows them: `overall`, and `bins` with their times; None for NaN."""
        edges = torch.linspace(0, 1, self.bins + 1, dtype=torch.float64).tolist()
        bins = [{"t": edges[i : i + 2], **self._entries(total)} for i, total in enumerate(self.totals)]
        return {"overall": self._entries(self.totals.sum(0)), "bins": bins}

    def _entries(self, total: Tensor) -> dict[str, Any]:
        entries: dict[str, Any] = {"draws": int(total[0])}
        for name in self.names:
            mean = self._mean(name, total)
            for key, value in ((name, mean.value), (f"{name}_error", mean.error)):
                entries[key] = value if math.isfinite(value) else None
        return entries

    def _mean(self, name: str, total: Tensor) -> Mean:
        column = 1 + self.names.index(name)
        count, value, square = (total[index].item() for index in (0, column, column + len(self.names)))
        if count < 2:
            return Mean(value if count else math.nan, math.nan, int(count))
        variance = max(square - value**2 / count, 0.0) / (count - 1)
        return Mean(value / count, math.sqrt(variance / count), int(count))
