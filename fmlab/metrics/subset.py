"""Which images of a set belong together: a fixed choice of rows, and splits, from their places in the set alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fmlab.random import GOLDEN, scramble

MOST_ROWS = 10_000
"""Rows of a set that are compared one by one; of more, a fixed choice."""
SPLITS = 10
"""Parts of a set that are measured apart, for a spread."""
SEED = 2020


def keyed_rows(n: int, limit: int) -> Tensor:
    """Ascending indices, int64, of the rows chosen out of n: all, or `limit` that depend on n and `limit` alone."""
    order = np.argsort(_priorities(np.arange(n)), kind="stable")[:limit]
    return torch.from_numpy(np.sort(order))


def _priorities(indices: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random uint64 for each index; distinct indices give distinct values."""
    priorities: np.ndarray = scramble((indices.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN))
    return priorities


class KeyedSubset:
    """Keeps at most `limit` of the rows that pass by: those `keyed_rows` picks once their number is known.

    Args:
        limit: The most rows that are kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seen = 0
        self._rows: list[Tensor] = []
        self._indices = np.empty(0, dtype=np.int64)

    def add(self, rows: Tensor) -> None:
        """Lets rows (B, ...) pass by, in the set's order."""
        self._rows.append(rows)
        self._indices = np.concatenate([self._indices, np.arange(self.seen, self.seen + len(rows))])
        self.seen += len(rows)
        if len(self._indices) > 2 * self.limit:
            self._prune()

    def rows(self) -> Tensor:
        """The chosen rows (at most `limit`, ...), in the set's order."""
        self._prune()
        return self._rows[0]

    def _prune(self) -> None:
        chosen = np.sort(np.argsort(_priorities(self._indices), kind="stable")[: self.limit])
        self._rows = [torch.cat(self._rows)[torch.from_numpy(chosen)]]
        self._indices = self._indices[chosen]


def splits_of(num_samples: int, splits: int = SPLITS) -> Tensor:
    """The split (num_samples,), int64, of each image of a set: equal parts of a shuffled order.

    Order and parts are those of torch-fidelity's defaults, so an Inception Score has its splits.
    """
    order = np.random.RandomState(SEED).permutation(num_samples)
    bounds = [part * num_samples // splits for part in range(splits + 1)]
    split_of = torch.empty(num_samples, dtype=torch.int64)
    for part, (start, end) in enumerate(pairwise(bounds)):
        split_of[torch.from_numpy(order[start:end])] = part
    return split_of


def sums_by_split(values: Tensor, split: Tensor, splits: int) -> Tensor:
    """Sums (splits, ...) over the values (B, ...) of each split; `split` (B,) says which is whose."""
    return values.new_zeros((splits, *values.shape[1:])).index_add(0, split, values)
