"""The results of an evaluation at Weights & Biases: a run of its own, in the group of the run that was evaluated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmlab.config.schema import WandbOptions
from fmlab.config.values import read_file
from fmlab.errors import first_line
from fmlab.evaluation.evaluation import Evaluation
from fmlab.records import RunLayout, trial_folder
from fmlab.records.measurements import Row, flat
from fmlab.records.secrets import values_without_secrets
from fmlab.training.loggers import online_or_offline, service_settings, wandb_mode

log = logging.getLogger(__name__)


def send(evaluation: Evaluation, rows: Sequence[Row], pictures: Sequence[Path]) -> None:
    """Sends rows, table and plots; offline where nobody is logged in. A failure is a warning, and stops nothing."""
    try:
        _send(evaluation, rows, pictures)
    except Exception as error:  # whatever a service does, the numbers are here
        log.warning("these results did not reach W&B: %s", first_line(error))


def _send(evaluation: Evaluation, rows: Sequence[Row], pictures: Sequence[Path]) -> None:
    import wandb

    layout = RunLayout(evaluation.trained.origin.run)
    config = read_file(layout.config)
    options = WandbOptions(**(config.get("wandb") or {}))
    mode: Any = wandb_mode(WandbOptions() if options.mode == "disabled" else options)
    if mode == "disabled":
        return
    trial = trial_folder()
    name = f"{layout.id}-{evaluation.folder.name}" if trial is None else trial.name

    measured = {"evaluated_run": layout.id, "experiment": layout.experiment, "measurement": evaluation.measurement}

    def begin(mode: Any) -> Any:
        return wandb.init(
            project=options.project,
            entity=options.entity,
            group=options.group or (layout.id if trial is None else None),  # a sweep groups its trials itself
            job_type="evaluate",
            id=name[:128],
            name=f"{layout.experiment}/{layout.id}/{evaluation.folder.name}",
            dir=str(evaluation.folder),
            config=values_without_secrets(measured),
            mode=mode,
            resume="allow",
            settings=service_settings(),
        )

    run = online_or_offline(begin, mode)
    try:
        for index, row in enumerate(rows):
            run.log(logged(row), step=index)
        run.log({"evaluate/rows": _table(wandb, rows)})
        run.log({f"evaluate/{file.stem}": wandb.Image(str(file)) for file in pictures})
    finally:
        run.finish()


def logged(row: Row) -> dict[str, float]:
    """The values of a row, with those of its settings that are axes, as metrics."""
    axes = {name: row.setting.get(name) for name in ("nfe", "steps", "guidance_scale")}
    values = {**row.values, **{name: float(value) for name, value in axes.items() if value is not None}}
    return {f"evaluate/{name}": value for name, value in values.items()}


def _table(wandb: Any, rows: Sequence[Row]) -> Any:
    """Every row with its setting and measurement, as text."""
    lines = [{**row.values, **dict(flat(row.setting)), **dict(flat(row.measurement))} for row in rows]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    return wandb.Table(columns=columns, data=[[str(line.get(name, "")) for name in columns] for line in lines])
