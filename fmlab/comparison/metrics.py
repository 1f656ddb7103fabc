"""The numbers that runs are compared by: the last and the best of each metric, whether less is better, how measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fmlab.comparison.runs import Curve, Run
from fmlab.metrics.registry import METRICS, Side, facts, output_sides
from fmlab.records.measurements import Record, Row, flat, short

VALIDATED = tuple(output for name in METRICS if facts(name).usual for output in facts(name).outputs)
"""The values that training measures of samples, the first choice first."""
SIDES: dict[str, Side] = {
    **{output: side for output, side in output_sides().items() if side is not None},
    "loss": "less",
    "excess": "less",
}
"""Whether less or more is better, by the beginning of a value's name."""
EVALUATED = "evaluate: "
"""How the name of a metric of an evaluation begins, before the samples' setting."""

_SPREAD = "_std"
_OBJECTIVE = ("model", *(f"model.{part}" for part in ("path", "source", "time_sampler", "coupling", "weight", "loss")))
_TRAINING_DATA = ("data.global_batch_size", "data.num_workers", "data.seed")
_SHOWN_SETTINGS = ("field", "solver", "steps", "grid", "path", "guidance_scale", "weights")


@dataclass(frozen=True)
class Score:
    """A metric of one run: how it was measured, and how its samples were made, are None if that was not recorded.

    Attributes:
        final: The last value.
        best: The best value of all; the last one where it is not known what is better.
        best_step: The step index of it; None for what was not followed over training.
    """

    final: float
    best: float
    best_step: int | None
    measurement: Record | None
    setting: Record | None = None


def side(name: str, runs: Iterable[Run] = ()) -> Side | None:
    """Whether less or more of a metric is better; None if nobody says.

    The metrics of this package are known by name; of another, a run says it that keeps its best checkpoint by it.
    """
    base = name.removeprefix(EVALUATED).partition(" ")[0].rpartition("/")[2]
    for output, better in SIDES.items():
        if base == output or base.startswith(f"{output}_"):
            return better
    modes = {run.flags.get("checkpoint.mode", "min") for run in runs if run.flags.get("checkpoint.monitor") == name}
    directions: dict[str, Side] = {"min": "less", "max": "more"}
    return directions.get(modes.pop()) if len(modes) == 1 else None


def scores(run: Run, better: dict[str, Side | None]) -> dict[str, Score]:
    """Every metric of a run that `better` names: what it logged, and what evaluations of it measured."""
    objective, logged = _decides(run, _OBJECTIVE), _decides(run, ())
    values = {}
    for name, curve in run.curves.items():
        if name in better and curve.values:
            measurement = _measurement(name, run, objective, logged)
            setting = run.setting if name.startswith("val/") else None
            values[name] = _followed(curve, better[name], measurement, setting)
    for row in evaluated(run):
        for name, value in row.values.items():
            key = evaluated_name(name, row, run)
            if key in better:
                values[key] = Score(value, value, None, only(row.measurement, name), row.setting)
    return values


def evaluated(run: Run) -> list[Row]:
    """The rows of a run's own samples, neither of real data nor of an exact field."""
    return [row for row in run.rows if not row.real_vs_real and row.setting.get("field", "network") == "network"]


def along_another_path(row: Row, run: Run) -> bool:
    """Whether samples were drawn along another path than those of the run's own validation."""
    path = (run.setting or {}).get("path")
    return path is not None and row.setting.get("path") not in (None, path)


def evaluated_name(name: str, row: Row, run: Run) -> str:
    """A metric of an evaluation, named with what made the samples: `evaluate: fid_domain (Heun(), 20 steps, w 2)`."""
    setting = row.setting
    parts = [str(setting.get("solver")), f"{setting.get('steps')} steps"]
    parts += [] if setting.get("grid") in (None, "UniformGrid()") else [str(setting["grid"])]
    parts += [str(setting["path"])] if along_another_path(row, run) else []
    parts += [f"w {setting['guidance_scale']:g}"] if setting.get("guidance_scale") is not None else []
    parts += [f"{key} {short(value)}" for key, value in flat(setting.get("guidance") or {})]
    parts += [str(setting["weights"])] if str(setting.get("weights", "")).startswith("power") else []
    return f"{EVALUATED}{name} ({', '.join(parts)}, {row.measurement.get('samples')} samples)"


def names(runs: Sequence[Run]) -> list[str]:
    """Every metric that any of the runs has, those of validation first, then evaluations, then training."""
    logged = Counter(name for run in runs for name in run.curves)
    evaluations = dict.fromkeys(
        evaluated_name(name, row, run)
        for run in runs
        for row in evaluated(run)
        for name in row.values
        if not name.endswith(_SPREAD)
    )
    validation = sorted(name for name in logged if name.startswith("val/"))
    return [*validation, *evaluations, *sorted(name for name in logged if not name.startswith(("val/", "perf/")))]


def monitored(runs: Sequence[Run], available: Sequence[str]) -> str | None:
    """The metric to begin with: what most runs keep their best checkpoint by, or else the first of the usual ones."""
    monitors = Counter(run.flags.get("checkpoint.monitor") for run in runs)
    usual = [
        name for output in (*VALIDATED, "loss", "excess") for name in available if name.startswith(f"val/{output}")
    ]
    choices = [*(name for name, _ in monitors.most_common() if name in available), *usual, *available]
    return choices[0] if choices else None


def only(measurement: Record | None, name: str) -> Record | None:
    """A measurement with the estimator of one metric alone: others that are measured beside it are none of it."""
    if measurement is None:
        return None
    estimators = measurement.get("estimators") or {}
    relevant = {name: estimators[name]} if name in estimators else estimators
    return {**measurement, "estimators": relevant}


def _measurement(name: str, run: Run, objective: Record, logged: Record) -> Record | None:
    """How a logged metric was measured.

    Distances between sets have it in the run's record. A loss is measured by its objective: losses along two paths are
    different quantities. Anything else is taken as measured by the data.
    """
    base = name.rpartition("/")[2]
    if name.startswith("val/") and base in ((run.measurement or {}).get("estimators") or {}):
        return only(run.measurement, base)
    if name.startswith("val/") and base.startswith(VALIDATED):
        return None
    return {"objective": objective} if "loss" in base or "excess" in base else {"logged from": logged}


def _decides(run: Run, parts: Sequence[str]) -> Record:
    """What a run says of these parts of it and of its data, but for how the data are handed out in training."""
    named = (*(part for part in parts if part != "model"), "data")
    inside = tuple(f"{part}." for part in named)
    return {
        key: value
        for key, value in run.flags.items()
        if (key in parts or key in named or key.startswith(inside)) and key not in _TRAINING_DATA
    }


def _followed(curve: Curve, better: Side | None, measurement: Record | None, setting: Record | None) -> Score:
    finite = [(value, step) for step, value in zip(curve.steps, curve.values) if math.isfinite(value)]
    final = curve.values[-1]
    if not finite or better is None:
        return Score(final, final, curve.steps[-1], measurement, setting)
    best, step = (min if better == "less" else max)(finite)
    return Score(final, best, step, measurement, setting)


def described(record: Record | None, setting: Record | None = None) -> list[tuple[str, Any]]:
    """A measurement, and the setting of its samples, as lines of a word and a value."""
    lines = [("measurement", "was not recorded")] if record is None else [(k, short(v)) for k, v in flat(record)]
    values = {key: value for key, value in (setting or {}).items() if value is not None}
    return [*lines, *((f"setting {key}", short(values[key])) for key in _SHOWN_SETTINGS if key in values)]
