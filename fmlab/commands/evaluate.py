"""`fmlab evaluate`: a finished run measured under a grid of settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fmlab.commands.evaluate_options import words
from fmlab.commands.evaluate_wandb import logged, send
from fmlab.commands.guidance_options import check_used, read_guidance
from fmlab.commands.sample import parse_labels
from fmlab.config.names import find_class, parameters
from fmlab.config.parts import Parts, part
from fmlab.config.values import read_value
from fmlab.errors import UserError, nearest
from fmlab.evaluation import USUAL, Cell, Evaluation, Processes, Row, cells, draws, joined
from fmlab.evaluation.bits_per_dim import Repeats
from fmlab.evaluation.closest import PREFIX
from fmlab.evaluation.held_out import HeldOutEvaluation, held_out
from fmlab.evaluation.report import write_plots, write_rows
from fmlab.evaluation.table import is_spread, with_spread
from fmlab.inference.load import load
from fmlab.inference.trained import Trained
from fmlab.paths import GaussianPath
from fmlab.records import CsvMetrics, atomic_write_json, trial_folder
from fmlab.solvers import Grid, Solver

NUMBER = {"images": 10_000, "points": 2_000}
"""Samples generated where the user names no number."""


def evaluate(options: argparse.Namespace, parts: Parts) -> int:
    """Measures every cell, and writes and prints what was found."""
    grid = {name: list(choices(name, base, getattr(options, name), parts)) for name, base in _BASES.items()}
    with joined() as processes:
        device = processes.device(options.device)
        trained = load(options.run, options.checkpoint, options.weights, device, trust=options.trust)
        guidances = [read_guidance(options, scale) for scale in options.guidance_scale]
        check_used(guidances)
        axes = (grid["solver"], grid["grid"], grid["path"], options.steps, guidances)
        wanted = cells(*axes, exact=options.exact, ema_stds=options.ema_std)
        evaluation = prepared(trained, options, processes, trained.count_classes(guidances[0]))
        keep = Path(options.keep) if options.keep else None
        if processes.first:
            print(f"evaluation {evaluation.folder}", flush=True)
            for line in evaluation.scores.remarks():
                print(f"remark     {line}", flush=True)
        with Live(evaluation, processes) as live:
            try:
                rows = evaluation.run(wanted, keep, live)
            except KeyboardInterrupt:
                live.say("interrupted; the same command goes on from here")
                raise
        if processes.first:
            conclude(evaluation, rows, keep, options.wandb)
    return 0


_BASES: dict[str, type] = {"solver": Solver, "grid": Grid, "path": GaussianPath}


def choices(name: str, base: type, text: str | None, parts: Parts) -> Iterator[Any]:
    """Every part that a comma list of classes and their arguments name; None where no class is named.

    Of several classes each takes those arguments that it has, and one of them must have them.

    Raises:
        UserError: If there is no such class, or no class with such an argument.
    """
    if text is None:
        yield None
        return
    named = words(text, name)
    classes = {word: find_class(word, (base,), name) for word in named}
    accepted = {word: set(parameters(cls)) for word, cls in classes.items()}
    for argument in parts[name]:
        if not any(argument.partition(".")[0] in own for own in accepted.values()):
            every = sorted(set().union(*accepted.values()))
            raise UserError(
                f"is an argument of no {name} here", key=f"{name}.{argument}", hint=nearest(argument, every)
            )
    for word in named:
        taken = {key: value for key, value in parts[name].items() if key.partition(".")[0] in accepted[word]}
        for values in product(*(axis(key, value) for key, value in taken.items())):
            yield part(name, word, base, {name: dict(zip(taken, values))})


def axis(key: str, value: Any) -> list[Any]:
    """The values of an argument: a text with commas, outside of brackets, holds several."""
    return [read_value(word) for word in words(value, key)] if isinstance(value, str) and "," in value else [value]


def prepared(
    trained: Trained, options: argparse.Namespace, processes: Processes, num_classes: int | None
) -> Evaluation:
    """The metrics and the samples that are asked for, of so many classes."""
    kind = trained.data().kind
    named = words(options.metrics, "metrics") if options.metrics else USUAL[kind]
    count = options.n if options.n is not None else NUMBER[kind]
    if named == ["bpd"]:
        return of_held_out(trained, options, count, processes)
    labels = None if options.labels == "frequencies" else parse_labels(options.labels)
    if labels is not None and not labels:
        raise UserError(f"{options.labels} holds no label", key="labels", hint="write 3, 0-9 or 1,4,7")
    made = draws(trained, count, options.seed, labels, num_classes)
    return Evaluation(
        trained,
        named,
        made,
        options.features,
        options.out,
        options.batch_size,
        processes,
        reference=options.reference,
        average=partial(load_average, options, trained),
    )


def of_held_out(trained: Trained, options: argparse.Namespace, count: int, processes: Processes) -> HeldOutEvaluation:
    """Bits per dimension of held-out images, under their own labels."""
    if options.labels != "frequencies":
        hint = "leave it out; --guidance_scale 0 measures without labels"
        raise UserError("bpd takes the images' own labels", key="labels", hint=hint)
    repeats = Repeats(options.dequantisations, options.probes)
    made = held_out(trained, count, options.seed)
    average = partial(load_average, options, trained)
    return HeldOutEvaluation(trained, made, repeats, options.out, options.batch_size, processes, average)


def load_average(options: argparse.Namespace, trained: Trained, std: float) -> Trained:
    """The same run with the power-function average of a width."""
    return load(
        options.run,
        options.checkpoint,
        options.weights,
        device=trained.device,
        ema_std=std,
        trust=options.trust,
    )


def conclude(evaluation: Evaluation, rows: list[Row], keep: Path | None, wandb: bool) -> None:
    """Writes the files, prints the table and says where they are."""
    everything = list(evaluation.journal.rows().values())
    table = write_rows(evaluation.folder, everything, evaluation.scores.better)
    pictures = write_plots(evaluation.folder, everything, evaluation.scores.better)
    print(f"\n{table}")
    print(f"results    {evaluation.folder}/results.csv, .json, .md")
    for picture in pictures:
        print(f"plot       {picture}")
    for picture in sorted(evaluation.folder.glob(f"{PREFIX}*.png")):
        print(f"neighbours {picture}")
    if keep is not None:
        print(f"samples    {keep}" + ("" if len(rows) <= 2 else " and beside it" * (keep.suffix == ".npz")))
    write_trial(evaluation, rows)
    if wandb:
        send(evaluation, rows, table, pictures)


def write_trial(evaluation: Evaluation, rows: list[Row]) -> None:
    """As a trial of a sweep, an evaluation leaves its numbers, and how they were measured, where a run would."""
    place = trial_folder()
    if place is None:
        return
    place.mkdir(parents=True, exist_ok=True)
    metrics = CsvMetrics(place / "metrics.csv")
    for index, row in enumerate(row for row in rows if not row.floor):
        metrics.write(index, logged(row))
    settings = [row.setting for row in rows if not row.floor]
    record = {"run": str(evaluation.trained.origin.run), "measurement": evaluation.measurement, "settings": settings}
    atomic_write_json(place / "measurement.json", record)


class Live:
    """Progress as it is made: a bar with the rate and the time left, and a line a finished row; the first process's.

    Args:
        evaluation: What goes on.
        processes: Who shares it.
    """

    def __init__(self, evaluation: Evaluation, processes: Processes) -> None:
        self.evaluation, self.processes = evaluation, processes
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        shown = processes.first and console.is_terminal
        self.console = console
        self.progress = Progress(*columns, console=console, transient=True, disable=not shown)
        self.task: TaskID | None = None

    def __enter__(self) -> Live:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.processes.first:
            self.console.print(text, markup=False)

    def begin(self, cell: Cell, number: int, cells: int) -> None:
        """A bar for the cell."""
        total, name = self.evaluation.draws.count, f"{number}/{cells} {type(cell.solver).__name__} {cell.steps}"
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(name, total=total, rate="")

    def advance(self, samples: int) -> None:
        """The bar moves by what all processes have done meanwhile, as far as this one can tell."""
        if self.task is None or self.progress.disable:
            return
        self.progress.advance(self.task, samples * self.processes.count)
        speed = next(task.speed for task in self.progress.tasks if task.id == self.task)
        self.progress.update(self.task, rate=f"{speed:.0f}/s" if speed else "")

    def finished(self, row: Row, remembered: bool) -> None:
        """A line, and the files brought up to date, so that an interrupted evaluation has them."""
        made = row.setting
        values = "  ".join(f"{name} {with_spread(row.values, name)}" for name in row.values if not is_spread(name))
        took = "known already" if remembered else f"{row.seconds:.1f} s"
        if row.floor:
            what = f"floor: {made['real']} real against {made['against']} others"
        else:
            exact = ", exact field" if made["field"] == "exact" else ""
            what = f"{made['solver']} {made['steps']} steps, NFE {made['nfe']:g}, w {made['guidance_scale']:g}{exact}"
            what += f", {made['weights']}" if str(made["weights"]).startswith("power") else ""
        self.say(f"{what:52} {values}  ({took})")
        if self.processes.first and not remembered:
            write_rows(
                self.evaluation.folder,
                list(self.evaluation.journal.rows().values()),
                self.evaluation.scores.better,
            )
