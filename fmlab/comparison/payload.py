"""A comparison as plain values, which the page draws."""

from __future__ import annotations

import math
from dataclasses import asdict, astuple
from datetime import datetime
from pathlib import Path
from typing import Any

from fmlab._version import __version__
from fmlab.comparison.configs import shared, text
from fmlab.comparison.groups import WHICH, Comparison, Group, Member, Standing, Which, summary
from fmlab.comparison.metrics import along_another_path, evaluated, only, said
from fmlab.comparison.pictures import pictures
from fmlab.comparison.runs import Curve, Run
from fmlab.comparison.words import verdict
from fmlab.records.evaluations import Row
from fmlab.records.measured import Record, flat, short

POINTS = 250_000
"""Points of all curves of a page, at most; longer curves are thinned."""

_MEASURED_BY_SETTING = ("nfe", "steps", "versions", "checkpoint", "batch_size", "seeds", "global_batch", "precision")


class Lines:
    """Measurements, each kept once, by their place."""

    def __init__(self) -> None:
        self.kept: dict[tuple[tuple[str, str], ...], int] = {}

    def place(self, record: Record | None, setting: Record | None) -> int:
        """Where a measurement stands."""
        lines = tuple((word, str(value)) for word, value in said(record, setting))
        return self.kept.setdefault(lines, len(self.kept))


def payload(comparison: Comparison) -> dict[str, Any]:
    """Everything the page shows, as JSON knows it; numbers that are not finite are null."""
    lines, numbers = Lines(), {name: place for place, name in enumerate(comparison.metrics)}
    content: dict[str, Any] = {
        "made": datetime.now().isoformat(sep=" ", timespec="minutes"),
        "version": __version__,
        "keys": comparison.keys,
        "shared": [[key, text(value)] for key, value in shared([group.flags for group in comparison.groups]).items()],
        "metrics": [[name, comparison.better[name]] for name in comparison.metrics],
        "metric": None if comparison.metric is None else numbers[comparison.metric],
        "groups": [_group(group, comparison, numbers, lines) for group in comparison.groups],
        "standings": [_standings(comparison, name) for name in comparison.metrics],
        "curves": _curves(comparison),
        "evaluations": _evaluations(comparison, lines),
        "recorded": _recorded(comparison),
        "pictures": [asdict(picture) for picture in pictures(comparison.groups)],
    }
    content["measurements"] = list(lines.kept)
    cleaned: dict[str, Any] = _clean(content)
    return cleaned


def _group(group: Group, comparison: Comparison, numbers: dict[str, int], lines: Lines) -> dict[str, Any]:
    present = {name for member in group.members for name in member.scores}
    return {
        "label": group.label,
        "flags": [text(group.flags[key]) if key in group.flags else None for key in comparison.keys],
        "runs": [_run(member, numbers, lines) for member in group.members],
        "stats": {
            numbers[name]: [summary(group, name, which) for which in WHICH]
            for name in comparison.metrics
            if name in present
        },
    }


def _run(member: Member, numbers: dict[str, int], lines: Lines) -> dict[str, Any]:
    run = member.run
    costs = {name: value for name, value in asdict(member.costs).items() if value is not None}
    return {
        "id": run.layout.id,
        "folder": str(run.layout.root),
        "seed": text(run.seed),
        "state": run.status.state,
        "error": run.status.error,
        "counts": member.counts,
        "costs": costs,
        "scores": {
            numbers[name]: [score.final, score.best, score.best_step, lines.place(score.measurement, score.setting)]
            for name, score in member.scores.items()
        },
    }


def _standings(comparison: Comparison, metric: str) -> list[list[dict[str, Any]]]:
    return [
        [_standing(comparison, metric, which, one) for one in comparison.standings(metric, which)] for which in WHICH
    ]


def _standing(comparison: Comparison, metric: str, which: Which, standing: Standing) -> dict[str, Any]:
    ranking = standing.ranking
    return {
        "groups": standing.groups,
        "apart": standing.apart,
        "said": verdict(comparison, metric, which, standing),
        "family": 0 if ranking is None else ranking.family,
        "best": None if ranking is None else standing.groups[ranking.best],
        "winner": ranking is not None and ranking.winner,
        "against": [] if ranking is None else [astuple(one) for one in ranking.against],
    }


def _curves(comparison: Comparison) -> dict[str, Any]:
    """Each metric that was followed over training: of every run, where and what. Equal steps are kept once."""
    members = [(g, m, member) for g, group in enumerate(comparison.groups) for m, member in enumerate(group.members)]
    drawn = [
        (number, g, m, member.run.curves[name])
        for number, name in enumerate(comparison.metrics)
        for g, m, member in members
        if name in member.run.curves
    ]
    total = sum(len(curve.values) for *_, curve in drawn)
    keep = max(20, POINTS // max(len(drawn), 1)) if total > POINTS else None
    steps: dict[tuple[int, ...], int] = {}
    found: dict[int, list[Any]] = {}
    for number, g, m, curve in drawn:
        where, values = thinned(curve, keep)
        found.setdefault(number, []).append([g, m, steps.setdefault(tuple(where), len(steps)), values])
    return {"steps": list(steps), "of": found, "thinned": keep}


def thinned(curve: Curve, keep: int | None) -> tuple[list[int], list[float]]:
    """At most so many points of a curve, evenly spread, the first and the last among them."""
    count = len(curve.values)
    if keep is None or count <= keep:
        return curve.steps, curve.values
    places = [round(place * (count - 1) / (keep - 1)) for place in range(keep)]
    return [curve.steps[place] for place in places], [curve.values[place] for place in places]


def _evaluations(comparison: Comparison, lines: Lines) -> list[list[Any]]:
    """Points of quality against NFE: group, run, metric, NFE, value, what made the samples, measurement; the newest."""
    found: dict[Any, list[Any]] = {}
    for g, group in enumerate(comparison.groups):
        for m, member in enumerate(group.members):
            for row in evaluated(member.run) if member.counts else []:
                nfe, line = row.setting.get("nfe"), _line(row, member.run)
                for name, value in row.values.items():
                    if nfe is not None and not name.endswith("_std"):
                        place = lines.place(only(row.measurement, name), None)
                        found[g, m, name, nfe, line, place] = [g, m, name, nfe, value, line, place]
    return list(found.values())


def _line(row: Row, run: Run) -> str:
    """What a line of points has in common: all of the setting but what varies along it, or says nothing new."""
    made = [
        (key, value)
        for key, value in flat(row.setting)
        if key.partition(".")[0] not in _MEASURED_BY_SETTING and (key != "path" or along_another_path(row, run))
    ]
    return ", ".join(short(value) if key == "solver" else f"{key} {short(value)}" for key, value in made)


def _recorded(comparison: Comparison) -> list[list[Any]]:
    """What the runs ran on, where that differs: word, and the values in each group."""
    words = {
        "code": lambda meta: _commit(meta),
        "fmlab": lambda meta: (meta.get("versions") or {}).get("fmlab"),
        "torch": lambda meta: (meta.get("versions") or {}).get("torch"),
        "host": lambda meta: meta.get("host"),
    }
    rows = []
    for word, get in words.items():
        of = [dict.fromkeys(str(get(member.run.meta)) for member in group.members) for group in comparison.groups]
        if len({value for values in of for value in values}) > 1:
            rows.append([word, [", ".join(values) for values in of]])
    return rows


def _commit(meta: dict[str, Any]) -> str:
    state = (meta.get("git") or {}).get("fmlab") or {}
    return str(state.get("commit", "not recorded"))[:8] + (" and changes" if state.get("dirty") else "")


def _clean(value: Any) -> Any:
    """Plain values with six digits; tuples as lists."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(one) for one in value]
    return str(value) if isinstance(value, Path) else value
