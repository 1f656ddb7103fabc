"""A fixed choice of rows: the same for a set whatever the batches it comes in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fmlab.random import GOLDEN, scramble


def _priority(indices: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random uint64 for each index; distinct indices give distinct values."""
    priorities: np.ndarray = scramble((indices.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN))
    return priorities


def keyed_rows(n: int, limit: int) -> Tensor:
    """Ascending indices of the rows chosen out of n: all of them, or `limit` that depend on n and `limit` alone."""
    order = np.argsort(_priority(np.arange(n)), kind="stable")[:limit]
    return torch.from_numpy(np.sort(order))


class KeyedChoice:
    """Keeps at most `limit` of the rows that pass by: those `keyed_rows` picks once their number is known.

    Args:
        limit: Rows kept.
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
        kept = np.sort(np.argsort(_priority(self._indices), kind="stable")[: self.limit])
        self._rows = [torch.cat(self._rows)[torch.from_numpy(kept)]]
        self._indices = self._indices[kept]
