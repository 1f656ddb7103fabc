"""One pass over the samples of a cell: each batch is made, measured, kept if asked, and dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fmlab.data.pixels import to_uint8
from fmlab.evaluation.artifacts import SampleStore
from fmlab.evaluation.cells import Cell, Draws
from fmlab.evaluation.distributed import ProcessGroup
from fmlab.evaluation.journal import Progress
from fmlab.evaluation.likelihood import HeldOutImages
from fmlab.fields import compute_in
from fmlab.inference.trained import Trained
from fmlab.metrics.metric_set import MetricSet


@dataclass(frozen=True)
class GeneratedSamples:
    """Samples that a field generates: uint8 images (B, C, H, W), or float points (B, D).

    Attributes:
        draws: Which samples to make.
        precision: Of the network's arithmetic.
    """

    draws: Draws
    precision: str

    def produce(self, cell: Cell, trained: Trained, places: Tensor) -> tuple[Tensor, int, Tensor | None]:
        """The samples at these places, int64 (B,), in one solve, the forwards that each took, and which are finite."""
        (batch,) = trained.generate_batches(
            self.draws.seeds(places),
            self.draws.labels_of(places),
            cell,
            cell.guidance,
            exact=cell.exact,
            batch_size=len(places),
            precision=self.precision,
        )
        images = len(trained.shape) == 3
        samples = to_uint8(batch.samples) if images else batch.samples.float().flatten(1)
        return samples, batch.nfe, batch.finite


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
    source: GeneratedSamples | HeldOutImages
    metrics: MetricSet
    processes: ProcessGroup
    batch_size: int
    save_seconds: float

    def spans(self) -> list[tuple[int, int]]:
        """First sample and one beyond the last of each batch of this process; small where others would go without."""
        count = self.source.draws.count
        size = max(1, min(self.batch_size, -(-count // self.processes.count)))
        spans = [(start, min(start + size, count)) for start in range(0, count, size)]
        return [spans[index] for index in self.processes.share(len(spans))]

    def run(
        self, cell: Cell, progress: Progress, store: SampleStore | None, advance: Callable[[int], None]
    ) -> tuple[dict[str, float], float, float]:
        """Makes and measures every sample of a cell, from where an interrupted pass stopped; all processes enter.

        Args:
            cell: How the samples are made.
            progress: How far this process is.
            store: What keeps the samples, or None.
            advance: Is told after each batch how many samples it had, first those of an interrupted pass.

        Returns:
            Each metric's value; the forwards a sample, averaged where an adaptive solver takes its own number in every
            batch; and the seconds spent, interrupted attempts included.
        """
        spans = self.spans()
        self.metrics.reset()
        if progress.batches:
            self.metrics.load_state(progress.state)
            advance(sum(stop - start for start, stop in spans[: progress.batches]))
        saved = time.monotonic()
        for start, stop in spans[progress.batches :]:
            began = time.perf_counter()
            nfe = self._measure_batch(cell, start, stop, store)
            progress.batches += 1
            progress.forwards += nfe * (stop - start)
            progress.seconds += time.perf_counter() - began
            advance(stop - start)
            before_computing = progress.batches == len(spans) and progress.seconds >= self.save_seconds
            if before_computing or time.monotonic() - saved >= self.save_seconds:
                progress.state = self.metrics.state()
                progress.save()
                saved = time.monotonic()
        began = time.perf_counter()
        values = self.metrics.compute()
        forwards, seconds = self.processes.total(progress.forwards, progress.seconds)
        nfe_of_each = forwards / self.source.draws.count
        whole = int(nfe_of_each) if nfe_of_each == int(nfe_of_each) else nfe_of_each
        return values, whole, seconds / self.processes.count + time.perf_counter() - began

    def _measure_batch(self, cell: Cell, start: int, stop: int, store: SampleStore | None) -> int:
        """Makes and measures the samples of a batch; returns the forwards each took."""
        places = torch.arange(start, stop)
        with compute_in("float32", self.trained.device):  # the features too
            samples, nfe, finite = self.source.produce(cell, self.trained, places)
            self.metrics.update(samples, self.source.draws.labels_of(places), places, finite)
        if store is not None:
            store.add(start, samples)
        return nfe
