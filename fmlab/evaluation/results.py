"""What an evaluation leaves when it is done: files, a table, a trial's record, and the results at W&B."""

from __future__ import annotations

from pathlib import Path

from fmlab.evaluation.closest import PREFIX
from fmlab.evaluation.evaluation import Evaluation
from fmlab.evaluation.report import write_plots, write_rows
from fmlab.evaluation.wandb_results import logged, send
from fmlab.records import CsvMetrics, atomic_write_json, trial_folder
from fmlab.records.evaluations import Row


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
    folder = trial_folder()
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    metrics = CsvMetrics(folder / "metrics.csv")
    for index, row in enumerate(row for row in rows if not row.floor):
        metrics.write(index, logged(row))
    settings = [row.setting for row in rows if not row.floor]
    record = {"run": str(evaluation.trained.origin.run), "measurement": evaluation.measurement, "settings": settings}
    atomic_write_json(folder / "measurement.json", record)
