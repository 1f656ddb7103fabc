"""One pass over the samples of a cell: each batch is made, measured, kept if asked, and dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fmlab.data.pixels import to_uint8
from fmlab.evaluation.cells import Cell, Draws
from fmlab.evaluation.journal import Partial, Progress
from fmlab.evaluation.keeping import Keeper
from fmlab.evaluation.processes import Processes
from fmlab.evaluation.scores import Scores
from fmlab.fields import compute_in
from fmlab.inference.trained import Trained

PRECISION = "float32"
"""Of the network's arithmetic; a record's setting holds it."""


@dataclass(frozen=True)
class Passed:
    """What a pass over all samples found.

    Attributes:
        values: Each metric's value.
        nfe: Forwards a sample, averaged where an adaptive solver takes its own number in every batch.
        seconds: Time spent, interrupted attempts included.
    """

    values: dict[str, float]
    nfe: float
    seconds: float


@dataclass
class Generation:
    """Makes samples and has them measured; a batch is one process's, so images do not depend on how many there are.

    Attributes:
        trained: The network.
        draws: Which samples to make.
        scores: What measures them.
        processes: Who shares the batches.
        batch_size: Samples a solve.
        save_seconds: Statistics half way are saved after a batch if this long has passed since.
    """

    trained: Trained
    draws: Draws
    scores: Scores
    processes: Processes
    batch_size: int
    save_seconds: float = 30.0

    @property
    def images(self) -> bool:
        """Whether samples are images, measured as uint8, and not points, measured as they are."""
        return len(self.trained.shape) == 3

    def spans(self) -> list[tuple[int, int]]:
        """First sample and one beyond the last of each batch; smaller ones where processes would go without."""
        size = max(1, min(self.batch_size, -(-self.draws.count // self.processes.count)))
        return [(start, min(start + size, self.draws.count)) for start in range(0, self.draws.count, size)]

    def run(
        self, cell: Cell, partial: Partial, keep: Keeper | None, tell: Callable[[int], None] = lambda samples: None
    ) -> Passed:
        """Makes and measures every sample of a cell, from where an interrupted pass stopped; all processes enter.

        Args:
            cell: How the samples are made.
            partial: Where this process's statistics half way are.
            keep: Where the samples go, if anywhere.
            tell: Is told after each batch how many samples it had, first those of an interrupted pass.
        """
        spans = self.spans()
        mine = [spans[index] for index in self.processes.share(len(spans))]
        progress = partial.load()
        self.scores.reset()
        if progress.batches:
            self.scores.load_state(progress.state)
            tell(sum(stop - start for start, stop in mine[: progress.batches]))
        saved = time.monotonic()
        for start, stop in mine[progress.batches :]:
            began = time.perf_counter()
            with compute_in("float32", self.trained.device):  # the features too
                nfe = self._batch(cell, start, stop, keep)
            progress = Progress(
                progress.batches + 1,
                progress.forwards + nfe * (stop - start),
                progress.seconds + time.perf_counter() - began,
            )
            tell(stop - start)
            before_computing = progress.batches == len(mine) and progress.seconds >= self.save_seconds
            if before_computing or time.monotonic() - saved >= self.save_seconds:
                progress.state = self.scores.state()
                partial.save(progress)
                saved = time.monotonic()
        return self._result(progress)

    def _result(self, progress: Progress) -> Passed:
        began = time.perf_counter()
        values = self.scores.compute()
        forwards, seconds = self.processes.total(progress.forwards, progress.seconds)
        elapsed = seconds / self.processes.count + time.perf_counter() - began
        nfe = forwards / self.draws.count
        return Passed(values, int(nfe) if nfe == int(nfe) else nfe, elapsed)

    def _batch(self, cell: Cell, start: int, stop: int, keep: Keeper | None) -> int:
        """Makes and measures the samples of a batch; returns the forwards each took."""
        places = torch.arange(start, stop)
        shown, nfe = self.made(cell, places)
        self.scores.update(shown, self.draws.labels_of(places), places)
        if keep is not None:
            keep.add(start, shown)
        return nfe

    def made(self, cell: Cell, places: Tensor) -> tuple[Tensor, int]:
        """The samples at these places, in one solve, and the forwards each took.

        Args:
            cell: How they are made.
            places: Their places among all samples, int64 (B,).

        Returns:
            uint8 images (B, C, H, W), or float points (B, D).
        """
        (batch,) = self.trained.generate_batches(
            self.draws.seeds(places),
            self.draws.labels_of(places),
            cell.sampling(),
            cell.guidance,
            exact=cell.exact,
            batch_size=len(places),
            precision=PRECISION,
        )
        return (to_uint8(batch.samples) if self.images else batch.samples.float().flatten(1)), batch.nfe
