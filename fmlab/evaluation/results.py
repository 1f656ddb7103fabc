"""What an evaluation shows as it goes, and leaves when it is done: a bar, files, a table, a trial's record, W&B."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fmlab.evaluation.artifacts import NEAREST_PREFIX
from fmlab.evaluation.cells import Cell
from fmlab.evaluation.distributed import ProcessGroup
from fmlab.evaluation.evaluation import Evaluation, Listener, Request
from fmlab.evaluation.report import write_plots, write_rows
from fmlab.evaluation.table import is_spread, with_spread
from fmlab.evaluation.wandb_results import logged, send
from fmlab.inference.trained import Trained
from fmlab.records import CsvMetrics, atomic_write_json, trial_folder
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
        self.console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        shown = self.processes.first and self.console.is_terminal
        self.progress = Progress(*columns, console=self.console, transient=True, disable=not shown)
        self.task: TaskID | None = None

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.processes.first:
            self.console.print(text, markup=False)

    def begin(self, cell: Cell, number: int) -> None:
        """A bar for the cell."""
        cells = len(self.evaluation.request.cells)
        if self.task is not None:
            self.progress.remove_task(self.task)
        name = f"{number}/{cells} {type(cell.solver).__name__} {cell.steps}"
        self.task = self.progress.add_task(name, total=self.evaluation.draws.count, rate="")

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
            label = f"{setting['solver']} {setting['steps']} steps, NFE {setting['nfe']:g}, "
            label += f"w {setting['guidance_scale']:g}" + (", exact field" if setting["field"] == "exact" else "")
            label += f", {setting['weights']}" if str(setting["weights"]).startswith("power") else ""
        self.say(f"{label:52} {values}  ({duration})")
        if self.processes.first and not remembered:
            write_rows(self.evaluation.folder, *self.evaluation.results())


def evaluate(
    trained: Trained,
    request: Request,
    processes: ProcessGroup | None = None,
    average: Callable[[float], Trained] | None = None,
    wandb: bool = False,
) -> list[Row]:
    """Measures a trained network, shows the progress, writes the numbers and prints them, as `fmlab evaluate` does.

    In code, `Evaluation(trained, request).run()` does the measuring alone.

    Args:
        trained: The network, with its data.
        request: What is to be measured.
        processes: Who shares the work, as `join_processes` gives it; this process alone if left out.
        average: Gives the network with the power-function average of a width, for cells that name one.
        wandb: Whether the results go to Weights & Biases as well.

    Returns:
        The row of the real data's two halves, where there is one, then the row of each cell; on every process.

    Raises:
        UserError: If the request does not fit the network or its data.
    """
    evaluation = Evaluation(trained, request, processes, average)
    if evaluation.processes.first:
        print(f"evaluation {evaluation.folder}", flush=True)
        for line in evaluation.remarks():
            print(f"remark     {line}", flush=True)
    live = Live(evaluation)
    with live.progress:
        try:
            rows = evaluation.run(live)
        except KeyboardInterrupt:
            live.say("interrupted; the same command continues from here")
            raise
    if evaluation.processes.first:
        conclude(evaluation, rows, wandb)
    return rows


def conclude(evaluation: Evaluation, rows: list[Row], wandb: bool) -> None:
    """Writes the files and prints the table, with the paths of all files."""
    keep = evaluation.request.keep
    print(f"\n{write_rows(evaluation.folder, *evaluation.results())}")
    print(f"results    {evaluation.folder}/results.csv, .json, .md")
    pictures = write_plots(evaluation.folder, *evaluation.results())
    for picture in pictures:
        print(f"plot       {picture}")
    for picture in sorted(evaluation.folder.glob(f"{NEAREST_PREFIX}*.png")):
        print(f"neighbours {picture}")
    if keep is not None:
        print(f"samples    {keep}" + ("" if len(rows) <= 2 else " and beside it" * (keep.suffix == ".npz")))
    write_trial(evaluation, [row for row in rows if not row.real_vs_real])
    if wandb:
        send(evaluation, rows, pictures)


def write_trial(evaluation: Evaluation, rows: list[Row]) -> None:
    """As a trial of a sweep, an evaluation leaves its numbers, and how they were measured, where a run would."""
    folder = trial_folder()
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    metrics = CsvMetrics(folder / "metrics.csv")
    for index, row in enumerate(rows):
        metrics.write(index, logged(row))
    settings = [row.setting for row in rows]
    record = {"run": str(evaluation.trained.origin.run), "measurement": evaluation.measurement, "settings": settings}
    atomic_write_json(folder / "measurement.json", record)
