"""What the metrics say of real examples: one half of the reference split against the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fmlab.data import DataModule
from fmlab.metrics.choice import keyed_rows


class Half:
    """One of two halves of a data set's reference split, chosen at random once for its size.

    It serves wherever the metrics want a data set: as a reference with statistics of its own, and to be measured.

    Args:
        data: The data set.
        size: The examples of its reference split.
        which: 0 is the larger half where the size is odd, 1 the other.
    """

    def __init__(self, data: Any, size: int, which: int) -> None:
        self.data, self.which = data, which
        self.shape, self.kind, self.reference = data.shape, data.kind, getattr(data, "reference", None)
        self.num_classes = data.num_classes
        self.class_names = getattr(data, "class_names", None)
        self.rows = torch.zeros(size, dtype=torch.bool)
        self.rows[keyed_rows(size, size - size // 2)] = True
        if which:
            self.rows = ~self.rows

    def __len__(self) -> int:
        """The examples of this half."""
        return int(self.rows.sum())

    def reference_batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """This half in order: of each batch of the whole those rows that are in it, every `world_size`-th batch."""
        first = 0
        for index, batch in enumerate(self.data.reference_batches(batch_size)):
            chosen = self.rows[first : first + len(batch)]
            first += len(batch)
            if index % world_size == rank and bool(chosen.any()):
                yield batch[chosen]

    def reference_hash(self) -> str:
        """The hash of the whole, and which half."""
        return f"{self.data.reference_hash()}:half {self.which}"

    def labelled_images(self, split: Any) -> tuple[Tensor, Tensor]:
        """The whole split, with labels: what features are trained on does not depend on halves."""
        return self.data.labelled_images(split)


def reference_size(data: Any) -> int:
    """The examples of a data set's reference split, counted by reading it where it is not ours."""
    if isinstance(data, DataModule):
        return len(data.split(data.reference))
    return sum(len(batch) for batch in data.reference_batches(4096))
