"""An evaluation: the cells of a grid over one trained network, each measured once and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from fmlab.errors import UserError
from fmlab.evaluation.cells import Cell, Draws
from fmlab.evaluation.closest import write_closest
from fmlab.evaluation.generation import PRECISION, Generation
from fmlab.evaluation.journal import Journal
from fmlab.evaluation.keeping import Keeper, keeper
from fmlab.evaluation.processes import Processes
from fmlab.evaluation.provenance import file_hash, fingerprint, row_key, setting
from fmlab.evaluation.scores import Scores, make_scores
from fmlab.evaluation.wanted import METRICS, check_wanted
from fmlab.fields import Guidance
from fmlab.inference.trained import Trained
from fmlab.metrics import cache_folder
from fmlab.metrics.floor import Half
from fmlab.records.evaluations import Row
from fmlab.records.measured import Record


class Listener(Protocol):
    """Who is told how an evaluation goes, on every process."""

    def begin(self, cell: Cell, number: int, cells: int) -> None:
        """A cell begins, the `number`-th of so many."""

    def advance(self, samples: int) -> None:
        """So many more samples of it are measured by this process."""

    def finished(self, row: Row, remembered: bool) -> None:
        """A row is there, measured now or remembered from before."""


class Silent:
    """A listener that does nothing."""

    def begin(self, cell: Cell, number: int, cells: int) -> None:
        """Nothing."""

    def advance(self, samples: int) -> None:
        """Nothing."""

    def finished(self, row: Row, remembered: bool) -> None:
        """Nothing."""


class Evaluation:
    """Measures a trained network under as many settings as wanted; a repeated evaluation only does what is missing.

    Attributes:
        scores: The metrics.
        measurement: How they measure.
        folder: Where rows and statistics half way are kept.

    Args:
        trained: The network, with its data.
        metrics: The metrics wanted, by name.
        draws: Which samples are made.
        features: Which network sees the images: auto, domain, inception, random.
        name: The evaluation's name, a folder in the run's `evaluations`; named after the measurement if left out.
        batch_size: Samples a solve.
        processes: Who shares the work; this process alone if left out.
        reference: A file of reference statistics in the place of the data's own.
        average: Gives the network with the power-function average of a width, for cells that name one.
        save_seconds: Statistics half way are saved after a batch if this long has passed since; SAVE_SECONDS if left
            out.

    Raises:
        UserError: If there is no such metric, or it wants another kind of data or another number of samples.
    """

    SAVE_SECONDS = 30.0

    def __init__(
        self,
        trained: Trained,
        metrics: Sequence[str],
        draws: Draws,
        features: str = "auto",
        name: str | None = None,
        batch_size: int = 250,
        processes: Processes | None = None,
        reference: str | None = None,
        average: Callable[[float], Trained] | None = None,
        save_seconds: float | None = None,
    ) -> None:
        self.trained, self.names, self.draws = trained, list(dict.fromkeys(metrics)), draws
        self.data = trained.data()
        self.processes = processes or Processes()
        self.save_seconds = self.SAVE_SECONDS if save_seconds is None else save_seconds
        if batch_size < 1:
            raise UserError(f"{batch_size} samples a solve", key="batch_size", hint="at least 1")
        self.batch_size = batch_size
        check_wanted(self.names, self.data.kind, draws.count)
        self.scores = self._scores(features, reference)
        self._check_reference()
        self.measurement = self.scores.measurement(draws.count)
        self.folder = trained.origin.run / "evaluations" / (name or self._name())
        self.journal = Journal(self.folder)
        self._checkpoint: Record | None = None
        self._average = average
        self._averaged: tuple[float, Trained] | None = None

    def _scores(self, features: str, reference: str | None) -> Scores:
        """The metrics."""
        where = (self.trained.device, cache_folder(), reference)
        return make_scores(self.names, self.data, self.draws.count, features, *where)

    def _check_reference(self) -> None:
        """Refuses more samples than can be matched one to one with the reference."""
        for name in self.names:
            if METRICS[name].one_to_one and self.draws.count > (self.scores.size or 0):
                cause = f"{name} matches {self.draws.count} samples with {self.scores.size} reference points"
                raise UserError(cause, key="num_samples", hint=f"--num_samples {self.scores.size} at most")

    def _name(self) -> str:
        """`fid-kid_n10000_domain_3fa01c`: the metrics, the number, the features and the whole measurement's hash."""
        features = [self.measurement["features"]["name"]] if self.measurement["features"] else []
        words = ["-".join(self.names), f"n{self.draws.count}", *features, fingerprint(self.measurement)[:6]]
        return "_".join(words)

    def run(self, cells: Sequence[Cell], keep: Path | None = None, listener: Listener | None = None) -> list[Row]:
        """The row of the real data's two halves, then the row of each cell; every process enters.

        Args:
            cells: What to measure.
            keep: Where the samples go: a `.npz` or a folder of pictures, one in it for each of several cells.
            listener: Who is told.

        Raises:
            UserError: If a cell's parts do not go together, or the folder cannot be written to.
        """
        told = listener or Silent()
        for cell in cells:
            cell.check(self.network(cell))
        if keep is not None:
            keeper(keep, "", self.draws, self.trained.shape)
        self._make_folder()
        # The first process decides for all what is there already: files may reach the others late.
        known: dict[str, Row] = self.processes.told_by_first(self.journal.rows())
        rows = [row for row in [self._floor(known, told)] if row is not None]
        for number, cell in enumerate(cells, 1):
            rows.append(self._cell(cell, number, len(cells), known, keep, told))
        return rows

    def network(self, cell: Cell) -> Trained:
        """The trained network with a cell's weights; of averages one at a time is kept.

        Raises:
            UserError: If the run has no such average.
        """
        std = cell.ema_std
        if std is None or cell.exact or self._average is None:
            return self.trained
        if self._averaged is None or self._averaged[0] != std:
            self._averaged = (std, self._average(std))
        return self._averaged[1]

    def setting(self, cell: Cell, nfe: float | None = None) -> Record:
        """How a cell's samples are made; the exact field has neither weights nor a checkpoint."""
        origin = self.trained.origin
        if self._checkpoint is None and origin.checkpoint is not None:
            file = origin.checkpoint
            self._checkpoint = {"file": file.name, "step": origin.step, "hash": file_hash(file)}
        return setting(
            cell.sampling(),
            self.trained.path,
            cell.guidance,
            seeds=(self.draws.seed, self.draws.seed + self.draws.count - 1),
            labels=self.draws.rule,
            weights=None if cell.exact else self.network(cell).origin.weights,
            precision=PRECISION,
            batch_size=self.batch_size,
            data=self.data,
            field="exact" if cell.exact else "network",
            checkpoint=None if cell.exact else self._checkpoint,
            nfe=nfe,
        )

    def _cell(self, cell: Cell, number: int, of: int, known: dict[str, Row], keep: Path | None, told: Listener) -> Row:
        made = self.setting(cell)
        key = row_key(self.measurement, made)
        kept = keeper(self._place(keep, cell, key, of), key, self.draws, self.trained.shape) if keep else None
        there = key in known and self.processes.told_by_first(kept is None or kept.done())
        if there:
            told.finished(known[key], remembered=True)
            return known[key]
        told.begin(cell, number, of)
        row = self._measured(cell, key, kept, told)
        told.finished(row, remembered=False)
        return row

    def _measured(self, cell: Cell, key: str, kept: Keeper | None, told: Listener) -> Row:
        """Measures a cell and writes its row."""
        where = self.processes
        partial = self.journal.partial(key, where.rank, where.count, self.batch_size, kept is not None)
        if kept is not None and not where.told_by_first(kept.begin() if where.first else None):
            partial.forget()  # nothing was kept of the samples that the statistics half way have seen
        generation = self._pass(cell)
        passed = generation.run(cell, partial, kept, told.advance)
        row = Row(key, self.measurement, self.setting(cell, passed.nfe), passed.values, passed.seconds)
        if where.first:
            write_closest(self.folder, generation, cell, key)
            if kept is not None:
                kept.finish()
            self.journal.append(row)
            self.journal.forget_partials(key)
        return row

    def _pass(self, cell: Cell) -> Generation:
        """What sees to it that a cell's samples are measured."""
        where = (self.processes, self.batch_size, self.save_seconds)
        return Generation(self.network(cell), self.draws, self.scores, *where)

    def _place(self, keep: Path, cell: Cell, key: str, of: int) -> Path:
        """Where a cell's samples go: the place named, or one in it or beside it for each of several cells."""
        if of == 1:
            return keep
        exact = "_exact" if cell.exact else ""
        name = f"{type(cell.solver).__name__}{cell.steps}_w{Guidance.of(cell.guidance).scale:g}{exact}_{key[:6]}"
        return keep.with_name(f"{keep.stem}_{name}.npz") if keep.suffix == ".npz" else keep / name

    def _floor(self, known: dict[str, Row], told: Listener) -> Row | None:
        """One half of the real data against the other, no more of them than samples; None where they are too few."""
        real, against = Half(self.data, 0), Half(self.data, 1)
        count = min(self.draws.count, len(real))
        if count < max(METRICS[name].least for name in self.names):
            return None
        made = {"field": "real data", "real": count, "against": len(against)}
        key = row_key(self.measurement, made)
        if key in known:
            told.finished(known[key], remembered=True)
            return known[key]
        began = time.perf_counter()
        values = self.scores.floor(self.draws.count, self.batch_size, self.processes)
        if not values:
            return None
        row = Row(key, self.measurement, made, values, time.perf_counter() - began, floor=True)
        if self.processes.first:
            self.journal.append(row)
        told.finished(row, remembered=False)
        return row

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {self.folder}: {error.strerror}", key="out") from error
