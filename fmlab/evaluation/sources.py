"""Where the samples that are measured come from: a field that generates them. (Held-out images: `likelihood`.)"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from fmlab.data.pixels import to_uint8
from fmlab.evaluation.cells import Cell, Draws
from fmlab.inference.trained import Trained


class SampleSource(Protocol):
    """Gives the samples of a cell, by their places, to the metrics.

    Attributes:
        draws: Which samples there are.
    """

    draws: Draws

    def check(self, cells: Sequence[Cell], keep: Path | None) -> None:
        """Refuses cells that it can give no samples of."""

    def produce(self, cell: Cell, trained: Trained, places: Tensor) -> tuple[Tensor, int]:
        """The samples at these places, int64 (B,), in one solve, and the network forwards that each took."""
        ...


class GeneratedSamples:
    """Samples that a field generates: uint8 images (B, C, H, W), or float points (B, D).

    Args:
        draws: Which samples to make.
        precision: Of the network's arithmetic.
    """

    def __init__(self, draws: Draws, precision: str) -> None:
        self.draws, self.precision = draws, precision

    def check(self, cells: Sequence[Cell], keep: Path | None) -> None:
        """Every cell can be generated."""

    def produce(self, cell: Cell, trained: Trained, places: Tensor) -> tuple[Tensor, int]:
        """The samples at these places, int64 (B,), in one solve, and the network forwards that each took."""
        (batch,) = trained.generate_batches(
            self.draws.seeds(places),
            self.draws.labels_of(places),
            cell.sampling(),
            cell.guidance,
            exact=cell.exact,
            batch_size=len(places),
            precision=self.precision,
        )
        images = len(trained.shape) == 3
        return (to_uint8(batch.samples) if images else batch.samples.float().flatten(1)), batch.nfe
