"""One pass over the samples of a cell: each batch is made, measured, kept if asked, and dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from fmlab.evaluation.artifacts import SampleStore
from fmlab.evaluation.cells import Cell
from fmlab.evaluation.distributed import ProcessGroup
from fmlab.evaluation.journal import Partial, Progress
from fmlab.evaluation.sources import SampleSource
from fmlab.fields import compute_in
from fmlab.inference.trained import Trained
from fmlab.metrics.metric_set import MetricSet


@dataclass(frozen=True)
class Measured:
    """What a pass over all samples gave.

    Attributes:
        values: Each metric's value.
        nfe: Forwards a sample, averaged where an adaptive solver takes its own number in every batch.
        seconds: Time spent, interrupted attempts included.
    """

    values: dict[str, float]
    nfe: float
    seconds: float


@dataclass
class CellPass:
    """Has samples made and measured; a batch is one process's, so samples do not depend on how many there are.

    Attributes:
        trained: The network.
        source: What gives the samples.
        metrics: What measures them.
        processes: Who shares the batches.
        batch_size: Samples per solve.
        save_seconds: Statistics half way are saved after a batch if this long has passed since.
    """

    trained: Trained
    source: SampleSource
    metrics: MetricSet
    processes: ProcessGroup
    batch_size: int
    save_seconds: float = 30.0

    def spans(self) -> list[tuple[int, int]]:
        """First sample and one beyond the last of each batch; smaller ones where processes would go without."""
        count = self.source.draws.count
        size = max(1, min(self.batch_size, -(-count // self.processes.count)))
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    def run(self, cell: Cell, partial: Partial, store: SampleStore | None, advance: Callable[[int], None]) -> Measured:
        """Makes and measures every sample of a cell, from where an interrupted pass stopped; all processes enter.

        Args:
            cell: How the samples are made.
            partial: Where this process's statistics half way are.
            store: The `SampleStore` that keeps the samples, or None.
            advance: Is told after each batch how many samples it had, first those of an interrupted pass.
        """
        spans = self.spans()
        mine = [spans[index] for index in self.processes.share(len(spans))]
        progress = partial.load()
        self.metrics.reset()
        if progress.batches:
            self.metrics.load_state(progress.state)
            advance(sum(stop - start for start, stop in mine[: progress.batches]))
        saved = time.monotonic()
        for start, stop in mine[progress.batches :]:
            began = time.perf_counter()
            nfe = self._measure_batch(cell, start, stop, store)
            progress = Progress(
                progress.batches + 1,
                progress.forwards + nfe * (stop - start),
                progress.seconds + time.perf_counter() - began,
            )
            advance(stop - start)
            before_computing = progress.batches == len(mine) and progress.seconds >= self.save_seconds
            if before_computing or time.monotonic() - saved >= self.save_seconds:
                progress.state = self.metrics.state()
                partial.save(progress)
                saved = time.monotonic()
        return self._result(progress)

    def _measure_batch(self, cell: Cell, start: int, stop: int, store: SampleStore | None) -> int:
        """Makes and measures the samples of a batch; returns the forwards each took."""
        places = torch.arange(start, stop)
        with compute_in("float32", self.trained.device):  # the features too
            samples, nfe = self.source.produce(cell, self.trained, places)
            self.metrics.update(samples, self.source.draws.labels_of(places), places)
        if store is not None:
            store.add(start, samples)
        return nfe

    def _result(self, progress: Progress) -> Measured:
        began = time.perf_counter()
        values = self.metrics.compute()
        forwards, seconds = self.processes.total(progress.forwards, progress.seconds)
        elapsed = seconds / self.processes.count + time.perf_counter() - began
        nfe = forwards / self.source.draws.count
        return Measured(values, int(nfe) if nfe == int(nfe) else nfe, elapsed)
