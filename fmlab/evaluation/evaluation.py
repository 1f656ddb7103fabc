"""An evaluation: the cells of a grid over one trained network, each measured once and remembered."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fmlab.errors import UserError
from fmlab.evaluation.artifacts import NEAREST_PREFIX, SampleStore, open_store, write_nearest
from fmlab.evaluation.cell_pass import CellPass, GeneratedSamples
from fmlab.evaluation.cells import Cell, choose_draws
from fmlab.evaluation.distributed import ProcessGroup
from fmlab.evaluation.journal import Journal
from fmlab.evaluation.likelihood import HeldOutImages
from fmlab.fields import Guidance, resolve_precision
from fmlab.inference.trained import Trained
from fmlab.metrics.cache import cache_folder
from fmlab.metrics.halves import ReferenceHalf, real_vs_real
from fmlab.metrics.measurement import setting
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts, Repeats
from fmlab.metrics.registry import Side, check_metrics, facts, usual_metrics
from fmlab.records.atomic import make_folder
from fmlab.records.measurements import Record, Row, fingerprint, row_key

NUM_SAMPLES = {"images": 10_000, "points": 2_000}
"""Samples that are generated where the request names no number."""
SAVE_SECONDS = 30.0
"""Statistics half way are saved after a batch if this long has passed since."""


@dataclass(frozen=True)
class Request:
    """What is to be measured of a trained network.

    Attributes:
        cells: The ways to sample it, at least one.
        metrics: The metrics by name; the usual ones of the kind of data if there is none.
        num_samples: Samples to generate, 10,000 images or 2,000 points if left out; of `bpd`, held-out images.
        labels: The labels in turn; None draws them from the frequencies of the training set.
        seed: The seed of the first sample; the others follow.
        features: Which network sees the images: auto, domain, inception, random, ...
        reference: A file of reference statistics in the place of the data's own.
        repeats: Of `bpd`: how often the likelihood of each image is estimated.
        precision: Of the network's arithmetic, see `fmlab.fields.Precision`.
        batch_size: Samples per solve.
        name: The evaluation's name, a folder in the run's `evaluations`; named after the measurement if left out.
        keep: Where the samples go: a `.npz` or a folder of images, one in it for each of several cells.
    """

    cells: Sequence[Cell]
    metrics: Sequence[str] = ()
    num_samples: int | None = None
    labels: Sequence[int] | None = None
    seed: int = 0
    features: str = "auto"
    reference: str | None = None
    repeats: Repeats = field(default_factory=Repeats)
    precision: str = "float32"
    batch_size: int = 250
    name: str | None = None
    keep: Path | None = None


class Listener:
    """Follows an evaluation, on every process; a subclass shows what it wants."""

    def begin(self, cell: Cell, number: int) -> None:
        """A cell begins, the `number`-th of those requested."""

    def advance(self, samples: int) -> None:
        """So many more samples of the cell are measured by this process."""

    def finish(self, row: Row, remembered: bool) -> None:
        """A row is there, measured now or remembered from before."""


class Evaluation:
    """Measures a trained network under as many settings as requested; a repeated one only does what is missing.

    Attributes:
        metrics: The metrics.
        measurement: How they measure.
        draws: Which samples are made.
        folder: Where rows and statistics half way are kept.

    Args:
        trained: The network, with its data.
        request: What is to be measured.
        processes: Who shares the work; this process alone if left out.
        average: Gives the network with the power-function average of a width, for cells that name one.
        save_seconds: Statistics half way are saved after a batch if this long has passed since; SAVE_SECONDS if left
            out.

    Raises:
        UserError: If there is no such metric, or it needs another kind of data or another number of samples.
    """

    def __init__(
        self,
        trained: Trained,
        request: Request,
        processes: ProcessGroup | None = None,
        average: Callable[[float], Trained] | None = None,
        save_seconds: float | None = None,
    ) -> None:
        self.trained, self.request, self.data = trained, request, trained.data()
        self.processes, self.average = processes or ProcessGroup(), average
        self.save_seconds = SAVE_SECONDS if save_seconds is None else save_seconds
        if request.batch_size < 1:
            raise UserError(f"must be at least 1, got {request.batch_size}", key="batch_size")
        kind, self.precision = self.data.kind, resolve_precision(request.precision, trained.device)
        count = request.num_samples or NUM_SAMPLES[kind]
        self.names = check_metrics(request.metrics or usual_metrics(kind), kind, count)
        self.source = self._source(count)
        self.draws = self.source.draws
        parts = MetricParts(
            self.data,
            self.draws.count,
            cache_folder(),
            request.features,
            reference=request.reference,
            device=trained.device,
            repeats=request.repeats,
        )
        self.metrics = MetricSet(self.names, parts)
        self.measurement = self.metrics.measurement()
        self.folder = trained.origin.run / "evaluations" / (request.name or self._name())
        self.journal = Journal(self.folder)
        self._checkpoint: Record | None = None
        self._averaged: tuple[float, Trained] | None = None

    def _source(self, count: int) -> GeneratedSamples | HeldOutImages:
        """What gives the samples."""
        trained, request = self.trained, self.request
        if facts(self.names[0]).held_out:
            if request.labels is not None:
                hint = "leave it out; a guidance scale of 0 measures without labels"
                raise UserError("bpd takes the images' own labels", key="labels", hint=hint)
            return HeldOutImages(trained, count, request.seed, request.repeats, self.precision)
        classes = trained.count_classes(request.cells[0].guidance) if request.cells else None
        return GeneratedSamples(choose_draws(trained, count, request.seed, request.labels, classes), self.precision)

    def _name(self) -> str:
        """`fid-kid_n10000_domain_3fa01c`: the metrics, the number, the features and the whole measurement's hash."""
        features = [self.measurement["features"]["name"]] if self.measurement["features"] else []
        names = "-".join(facts(name).name for name in self.names)
        parts = [names, f"n{self.draws.count}", *features, fingerprint(self.measurement)[:6]]
        return "_".join(parts)

    def remarks(self) -> list[str]:
        """What a reader of the numbers should know, a line each."""
        without = "no real-vs-real distance: the reference is a file of statistics, which has no halves"
        return [*self.metrics.remarks(), *([] if self.request.reference is None else [without])]

    def run(self, listener: Listener | None = None) -> list[Row]:
        """The row of the real data's two halves, then the row of each cell; every process enters.

        Args:
            listener: Who follows it.

        Raises:
            UserError: If a cell's parts do not go together, or the folder cannot be written to.
        """
        listener, keep = listener or Listener(), self.request.keep
        if isinstance(self.source, HeldOutImages):
            self.source.check(self.request.cells, keep)
        for cell in self.request.cells:
            cell.check(self.network(cell))
        if keep is not None:
            open_store(keep, "", self.draws, self.trained.shape)
        try:
            make_folder(self.folder)
        except OSError as error:
            raise UserError(f"cannot make {self.folder}: {error.strerror}", key="out") from error
        # The first process decides for all which rows exist already: files may reach the others late.
        journaled: dict[str, Row] = self.processes.from_first(self.journal.rows())
        rows = [row for row in [self._real_vs_real(journaled, listener)] if row is not None]
        for number, cell in enumerate(self.request.cells, 1):
            rows.append(self._row(cell, number, journaled, listener))
        return rows

    def results(self) -> tuple[list[Row], dict[str, Side]]:
        """Every row of the folder, those of earlier requests included, and which way each of this one's is better."""
        return list(self.journal.rows().values()), self.metrics.better

    def network(self, cell: Cell) -> Trained:
        """The trained network with a cell's weights; of averages one at a time is held.

        Raises:
            UserError: If the run has no such average.
        """
        std = cell.ema_std
        if std is None or cell.exact or self.average is None:
            return self.trained
        if self._averaged is None or self._averaged[0] != std:
            self._averaged = (std, self.average(std))
        return self._averaged[1]

    def setting(self, cell: Cell, nfe: float | None = None) -> Record:
        """How a cell's samples are made; the exact field has neither weights nor a checkpoint."""
        origin = self.trained.origin
        if self._checkpoint is None and origin.checkpoint is not None:
            file = origin.checkpoint
            self._checkpoint = {"file": file.name, "step": origin.step, "hash": _file_hash(file)}
        return setting(
            cell,
            self.trained.path,
            cell.guidance,
            seeds=(self.draws.seed, self.draws.seed + self.draws.count - 1),
            labels=self.draws.rule,
            weights=None if cell.exact else self.network(cell).origin.weights,
            precision=self.precision,
            batch_size=self.request.batch_size,
            data=self.data,
            field="exact" if cell.exact else "network",
            checkpoint=None if cell.exact else self._checkpoint,
            nfe=nfe,
        )

    def _row(self, cell: Cell, number: int, journaled: dict[str, Row], listener: Listener) -> Row:
        """The row of a cell, measured now if it is not there or its samples are to be kept and are not."""
        key = row_key(self.measurement, self.setting(cell))
        store = self._store(cell, key)
        if key in journaled and self.processes.from_first(store is None or store.done()):
            listener.finish(journaled[key], remembered=True)
            return journaled[key]
        listener.begin(cell, number)
        row = self._measure(cell, key, store, listener)
        listener.finish(row, remembered=False)
        return row

    def _measure(self, cell: Cell, key: str, store: SampleStore | None, listener: Listener) -> Row:
        """Measures a cell and writes its row."""
        processes, batch_size = self.processes, self.request.batch_size
        progress = self.journal.progress(key, processes.rank, processes.count, batch_size, store is not None)
        # Statistics half way count only if the samples that they have seen were kept.
        if store is None or processes.from_first(store.begin() if processes.first else None):
            progress = progress.load()
        else:
            progress.forget()
        trained = self.network(cell)
        cell_pass = CellPass(trained, self.source, self.metrics, processes, batch_size, self.save_seconds)
        values, nfe, seconds = cell_pass.run(cell, progress, store, listener.advance)
        row = Row(key, self.measurement, self.setting(cell, nfe), values, seconds)
        if processes.first:
            picture = self.folder / f"{NEAREST_PREFIX}{type(cell.solver).__name__}{cell.steps}_{key[:6]}.png"
            write_nearest(picture, self.metrics, lambda places: self.source.produce(cell, trained, places)[0])
            if store is not None:
                store.finish()
            self.journal.append(row)
            self.journal.forget_progress(key)
        return row

    def _store(self, cell: Cell, key: str) -> SampleStore | None:
        """Where a cell's samples go: the path requested, or one in it or beside it for each of several cells."""
        target = self.request.keep
        if target is not None and len(self.request.cells) > 1:
            exact = "_exact" if cell.exact else ""
            name = f"{type(cell.solver).__name__}{cell.steps}_w{Guidance.of(cell.guidance).scale:g}{exact}_{key[:6]}"
            archive = target.suffix == ".npz"
            target = target.with_name(f"{target.stem}_{name}.npz") if archive else target / name
        return None if target is None else open_store(target, key, self.draws, self.trained.shape)

    def _real_vs_real(self, journaled: dict[str, Row], listener: Listener) -> Row | None:
        """One half of the real data against the other, no more of them than samples; None where they are too few."""
        if self.request.reference is not None or not any(facts(name).against_reference for name in self.names):
            return None
        real, others = ReferenceHalf(self.data, 0), ReferenceHalf(self.data, 1)
        count = min(self.draws.count, len(real))
        if count < max(facts(name).least for name in self.names):
            return None
        setting = {"field": "real data", "real": count, "against": len(others)}
        key = row_key(self.measurement, setting)
        if key in journaled:
            listener.finish(journaled[key], remembered=True)
            return journaled[key]
        began = time.perf_counter()
        values = real_vs_real(self.metrics)
        del values["real_samples"]
        row = Row(key, self.measurement, setting, values, time.perf_counter() - began, real_vs_real=True)
        if self.processes.first:
            self.journal.append(row)
        listener.finish(row, remembered=False)
        return row


def _file_hash(file: Path) -> str:
    """SHA-256 (hex) of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
