"""A comparison as plain values, which the page draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, astuple
from datetime import datetime
from pathlib import Path
from typing import Any

from fmlab._version import __version__
from fmlab.comparison.configs import shared_flags, text
from fmlab.comparison.groups import WHICH, Comparison, Member, Standing, Which
from fmlab.comparison.metrics import along_another_path, described, evaluated, only
from fmlab.comparison.pictures import thumbnails
from fmlab.comparison.runs import Curve, Run
from fmlab.comparison.sentences import describe_standing
from fmlab.records.measurements import Record, Row, flat, short

POINTS = 250_000
"""Points of all curves of a page, at most; longer curves are thinned."""

_MEASURED_BY_SETTING = ("nfe", "steps", "versions", "checkpoint", "batch_size", "seeds", "global_batch", "precision")


Measurements = dict[tuple[tuple[str, str], ...], int]
"""How numbers were measured, each measurement once, with its index."""


def _index(measurements: Measurements, record: Record | None, setting: Record | None) -> int:
    """Returns the index of a measurement and the setting of its samples."""
    lines = tuple((word, str(value)) for word, value in described(record, setting))
    return measurements.setdefault(lines, len(measurements))


def payload(comparison: Comparison) -> dict[str, Any]:
    """Returns everything the page shows, as JSON knows it; numbers that are not finite are null."""
    measurements: Measurements = {}
    numbers = {name: index for index, name in enumerate(comparison.metrics)}
    content: dict[str, Any] = {
        "made": datetime.now().isoformat(sep=" ", timespec="minutes"),
        "version": __version__,
        "keys": comparison.keys,
        "shared": [
            [key, text(value)] for key, value in shared_flags([group.flags for group in comparison.groups]).items()
        ],
        "metrics": [[name, comparison.better[name]] for name in comparison.metrics],
        "metric": None if comparison.metric is None else numbers[comparison.metric],
        "groups": [
            {
                "label": group.label,
                "flags": [text(group.flags[key]) if key in group.flags else None for key in comparison.keys],
                "runs": [_run(member, numbers, measurements) for member in group.members],
                "stats": {
                    number: [group.summarize(name, which) for which in WHICH]
                    for name, number in numbers.items()
                    if any(name in member.scores for member in group.members)
                },
            }
            for group in comparison.groups
        ],
        "standings": [
            [[_standing(comparison, name, which, one) for one in comparison.standings(name, which)] for which in WHICH]
            for name in comparison.metrics
        ],
        "curves": _curves(comparison),
        "evaluations": _evaluations(comparison, measurements),
        "recorded": _recorded(comparison),
        "pictures": [asdict(thumbnail) for thumbnail in thumbnails(comparison.groups)],
    }
    content["measurements"] = list(measurements)
    plain: dict[str, Any] = _plain(content)
    return plain


def _run(member: Member, numbers: dict[str, int], measurements: Measurements) -> dict[str, Any]:
    run = member.run
    return {
        "id": run.layout.id,
        "folder": str(run.layout.root),
        "seed": text(run.seed),
        "state": run.status.state,
        "error": run.status.error,
        "counts": member.counts,
        "costs": {name: value for name, value in asdict(member.costs).items() if value is not None},
        "scores": {
            numbers[name]: [*astuple(score)[:3], _index(measurements, score.measurement, score.setting)]
            for name, score in member.scores.items()
        },
    }


def _standing(comparison: Comparison, metric: str, which: Which, standing: Standing) -> dict[str, Any]:
    ranking = standing.ranking
    return {
        "groups": standing.groups,
        "apart": standing.apart,
        "sentence": describe_standing(comparison, metric, which, standing),
        "family": 0 if ranking is None else ranking.family,
        "best": None if ranking is None else standing.groups[ranking.best],
        "winner": ranking is not None and ranking.winner,
        "against": [] if ranking is None else [astuple(test) for test in ranking.tests],
    }


def _positions(comparison: Comparison) -> Iterator[tuple[int, int, Member]]:
    for g, group in enumerate(comparison.groups):
        for m, member in enumerate(group.members):
            yield g, m, member


def _curves(comparison: Comparison) -> dict[str, Any]:
    """The curves of each metric, by group and run. Equal lists of steps are stored once."""
    curves = [
        (number, g, m, member.run.curves[name])
        for number, name in enumerate(comparison.metrics)
        for g, m, member in _positions(comparison)
        if name in member.run.curves
    ]
    total = sum(len(curve.values) for *_, curve in curves)
    limit = max(20, POINTS // max(len(curves), 1)) if total > POINTS else None
    steps: dict[tuple[int, ...], int] = {}
    by_metric: dict[int, list[Any]] = {}
    for number, g, m, curve in curves:
        where, values = thinned(curve, limit)
        by_metric.setdefault(number, []).append([g, m, steps.setdefault(tuple(where), len(steps)), values])
    return {"steps": list(steps), "of": by_metric, "thinned": limit}


def thinned(curve: Curve, limit: int | None) -> tuple[list[int], list[float]]:
    """Returns at most so many points of a curve, evenly spread, the first and the last among them."""
    count = len(curve.values)
    if limit is None or count <= limit:
        return curve.steps, curve.values
    indices = [round(index * (count - 1) / (limit - 1)) for index in range(limit)]
    return [curve.steps[index] for index in indices], [curve.values[index] for index in indices]


def _evaluations(comparison: Comparison, measurements: Measurements) -> list[list[Any]]:
    """Points of quality against NFE: group, run, metric, NFE, value, setting, measurement; repeated ones replaced."""
    points: dict[Any, list[Any]] = {}
    for g, m, member in _positions(comparison):
        for row in evaluated(member.run) if member.counts else []:
            nfe, line = row.setting.get("nfe"), _describe_line(row, member.run)
            for name, value in row.values.items():
                if nfe is not None and not name.endswith("_std"):
                    measurement = _index(measurements, only(row.measurement, name), None)
                    points[g, m, name, nfe, line, measurement] = [g, m, name, nfe, value, line, measurement]
    return list(points.values())


def _describe_line(row: Row, run: Run) -> str:
    """What a line of points has in common: all of the setting but what varies along it, or is the same anyway."""
    parts = [
        (key, value)
        for key, value in flat(row.setting)
        if key.partition(".")[0] not in _MEASURED_BY_SETTING and (key != "path" or along_another_path(row, run))
    ]
    return ", ".join(short(value) if key == "solver" else f"{key} {short(value)}" for key, value in parts)


def _recorded(comparison: Comparison) -> list[list[Any]]:
    """What the runs ran on, where that differs: a word, and the values in each group."""
    environments = [[_environment(member.run.meta) for member in group.members] for group in comparison.groups]
    rows = []
    for name in ("code", "fmlab", "torch", "host"):
        values = [list(dict.fromkeys(str(one[name]) for one in group)) for group in environments]
        if len({value for group in values for value in group}) > 1:
            rows.append([name, [", ".join(group) for group in values]])
    return rows


def _environment(meta: dict[str, Any]) -> dict[str, Any]:
    versions, state = meta.get("versions") or {}, (meta.get("git") or {}).get("fmlab") or {}
    commit = str(state.get("commit", "not recorded"))[:8] + (" and changes" if state.get("dirty") else "")
    return {"code": commit, "fmlab": versions.get("fmlab"), "torch": versions.get("torch"), "host": meta.get("host")}


def _plain(value: Any) -> Any:
    """Plain values with six digits; tuples as lists."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return str(value) if isinstance(value, Path) else value
