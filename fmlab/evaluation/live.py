"""An evaluation as it goes: a bar with the rate and the time left, and a line for each finished row."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fmlab.evaluation.cells import Cell
from fmlab.evaluation.evaluation import Evaluation, Listener
from fmlab.evaluation.report import write_rows
from fmlab.evaluation.table import is_spread, with_spread
from fmlab.records.measurements import Row


class Live(Listener):
    """Prints the progress: a bar with the rate and the time left, and a line for each finished row; first process only.

    Args:
        evaluation: The evaluation that is shown.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation, self.processes = evaluation, evaluation.processes
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        shown = self.processes.first and console.is_terminal
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

    def finish(self, row: Row, remembered: bool) -> None:
        """A line, and the files brought up to date, so that an interrupted evaluation has them."""
        setting = row.setting
        values = "  ".join(f"{name} {with_spread(row.values, name)}" for name in row.values if not is_spread(name))
        duration = "known already" if remembered else f"{row.seconds:.1f} s"
        if row.real_vs_real:
            label = f"real against real: {setting['real']} against {setting['against']} others"
        else:
            exact = ", exact field" if setting["field"] == "exact" else ""
            label = f"{setting['solver']} {setting['steps']} steps, NFE {setting['nfe']:g}, "
            label += f"w {setting['guidance_scale']:g}{exact}"
            label += f", {setting['weights']}" if str(setting["weights"]).startswith("power") else ""
        self.say(f"{label:52} {values}  ({duration})")
        if self.processes.first and not remembered:
            write_rows(
                self.evaluation.folder,
                list(self.evaluation.journal.rows().values()),
                self.evaluation.metrics.better,
            )
