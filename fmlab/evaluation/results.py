"""What an evaluation leaves when it is done: files, a table, a trial's record, and the results at W&B."""

from __future__ import annotations

from collections.abc import Callable

from fmlab.evaluation.artifacts import NEAREST_PREFIX
from fmlab.evaluation.distributed import ProcessGroup
from fmlab.evaluation.evaluation import Evaluation, Request
from fmlab.evaluation.live import Live
from fmlab.evaluation.report import write_plots, write_rows
from fmlab.evaluation.wandb_results import logged, send
from fmlab.inference.trained import Trained
from fmlab.records import CsvMetrics, atomic_write_json, trial_folder
from fmlab.records.measurements import Row


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
    with Live(evaluation) as live:
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
    everything = list(evaluation.journal.rows().values())
    table = write_rows(evaluation.folder, everything, evaluation.metrics.better)
    pictures = write_plots(evaluation.folder, everything, evaluation.metrics.better)
    print(f"\n{table}")
    print(f"results    {evaluation.folder}/results.csv, .json, .md")
    for picture in pictures:
        print(f"plot       {picture}")
    for picture in sorted(evaluation.folder.glob(f"{NEAREST_PREFIX}*.png")):
        print(f"neighbours {picture}")
    if keep is not None:
        print(f"samples    {keep}" + ("" if len(rows) <= 2 else " and beside it" * (keep.suffix == ".npz")))
    write_trial(evaluation, rows)
    if wandb:
        send(evaluation, rows, pictures)


def write_trial(evaluation: Evaluation, rows: list[Row]) -> None:
    """As a trial of a sweep, an evaluation leaves its numbers, and how they were measured, where a run would."""
    folder = trial_folder()
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    metrics = CsvMetrics(folder / "metrics.csv")
    for index, row in enumerate(row for row in rows if not row.real_vs_real):
        metrics.write(index, logged(row))
    settings = [row.setting for row in rows if not row.real_vs_real]
    record = {"run": str(evaluation.trained.origin.run), "measurement": evaluation.measurement, "settings": settings}
    atomic_write_json(folder / "measurement.json", record)
