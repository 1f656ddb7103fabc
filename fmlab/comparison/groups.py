"""Runs that differ in nothing but their seed are one group; groups are what is compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fmlab.comparison.configs import Flags, decisive, differing, identity, label
from fmlab.comparison.costs import Costs, costs
from fmlab.comparison.metrics import Score, Side, monitored, names, scores, side
from fmlab.comparison.runs import Run, find_runs, read_run
from fmlab.comparison.statistics import Ranking, rank, spread
from fmlab.errors import UserError, nearest
from fmlab.records.measured import Record, comparable

Which = Literal["final", "best"]
"""The value at the end of training, or the best of all validations."""

WHICH: tuple[Which, ...] = ("final", "best")


@dataclass(frozen=True)
class Member:
    """A run of a comparison.

    Attributes:
        run: Its record.
        scores: Its metrics.
        costs: What its training cost.
        counts: Whether its values are compared: it is done, and no later run repeats it.
    """

    run: Run
    scores: dict[str, Score]
    costs: Costs
    counts: bool


@dataclass
class Group:
    """Runs of one name and configuration, but for the seed.

    Attributes:
        label: What sets it apart from the other groups, in few words; one and the same group has one label.
        flags: What decides its numbers.
        members: The runs, in the order of their seeds.
    """

    label: str
    flags: Flags
    members: list[Member] = field(default_factory=list)

    def values(self, metric: str, which: Which) -> dict[Any, float]:
        """A metric of the runs that count, by seed."""
        return {
            member.run.seed: getattr(member.scores[metric], which)
            for member in self.members
            if member.counts and metric in member.scores
        }


@dataclass(frozen=True)
class Standing:
    """Those groups in one metric whose numbers are measured alike.

    Attributes:
        groups: Their places among all groups.
        measurement: How it is measured; None if that was not recorded, and then a group stands alone.
        ranking: Which of them is better; None if there is nothing to rank.
        apart: In what the measurement differs from that of the first standing, in words; empty of the first.
    """

    groups: list[int]
    measurement: Record | None
    ranking: Ranking | None
    apart: str = ""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        groups: The groups, in the order of the runs.
        keys: The keys of the configuration that differ between groups.
        metrics: The names of all metrics.
        better: Whether less or more of each is better; None if that is not known.
        metric: The one to begin with.
    """

    groups: list[Group]
    keys: list[str]
    metrics: list[str]
    better: dict[str, Side | None]
    metric: str | None

    @property
    def members(self) -> list[Member]:
        return [member for group in self.groups for member in group.members]

    def standings(self, metric: str, which: Which) -> list[Standing]:
        """The groups that have a metric, those of one measurement together, most groups first."""
        return _standings(self, metric, which)


def compare(words: str | Path | Iterable[str | Path], metric: str | None = None, runs_dir: str = "runs") -> Comparison:
    """Reads the runs that words name and sorts them into groups.

    Raises:
        UserError: If a word names no run, or no run has such a metric.
    """
    return grouped([read_run(layout) for layout in find_runs(words, runs_dir)], metric)


def grouped(runs: Sequence[Run], metric: str | None = None) -> Comparison:
    """Sorts runs into groups.

    Raises:
        UserError: If no run has the metric.
    """
    metrics = names(runs)
    if metric is not None and metric not in metrics:
        raise UserError("none of the runs has this metric", key=f"--metric {metric}", hint=nearest(metric, metrics))
    better = {name: side(name, runs) for name in metrics}
    deciding = [decisive(run.flags) for run in runs]
    sorted_runs: dict[Any, list[int]] = {}
    for place, run in enumerate(runs):
        sorted_runs.setdefault((run.layout.experiment, identity(deciding[place])), []).append(place)
    firsts = [deciding[places[0]] for places in sorted_runs.values()]
    keys = differing(firsts) if len(firsts) > 1 else []
    experiments = {experiment for experiment, _ in sorted_runs}
    groups: list[Group] = []
    for (experiment, _), places in sorted_runs.items():
        group = Group(_label(experiment, len(experiments) > 1, firsts[len(groups)], keys), firsts[len(groups)])
        group.members = _members([runs[place] for place in places], better)
        groups.append(group)
    return Comparison(groups, keys, metrics, better, metric or monitored(runs, metrics))


def _label(experiment: str, several: bool, found: Flags, keys: Sequence[str]) -> str:
    differences = label(found, keys)
    return ": ".join(part for part in (experiment if several or not differences else "", differences) if part)


def _members(runs: Sequence[Run], better: dict[str, Side | None]) -> list[Member]:
    """The runs by seed; of several finished ones with one seed the last one made counts."""
    newest: dict[Any, Run] = {}
    for run in sorted((run for run in runs if run.done), key=lambda run: str(run.meta.get("created", run.layout.id))):
        newest[run.seed] = run
    members = [Member(run, scores(run, better), costs(run), newest.get(run.seed) is run) for run in runs]
    return sorted(members, key=lambda member: (str(type(member.run.seed)), member.run.seed, member.run.layout.id))


def _standings(comparison: Comparison, metric: str, which: Which) -> list[Standing]:
    found: dict[str, tuple[Record | None, list[int]]] = {}
    for place, group in enumerate(comparison.groups):
        measured = [member.scores[metric].measurement for member in group.members if _has(member, metric)]
        if not measured:
            continue
        record = measured[0] if all(one == measured[0] for one in measured) else None
        # With one estimator each, records are comparable where they are equal, which takes no look at every pair.
        key = f"alone {place}" if record is None else json.dumps(record, sort_keys=True, default=str)
        found.setdefault(key, (record, []))[1].append(place)
    alike = sorted(found.values(), key=lambda pair: -len(pair[1]))
    return [
        Standing(places, record, _ranking(comparison, metric, which, places), _apart(alike[0][0], record, number))
        for number, (record, places) in enumerate(alike)
    ]


def _has(member: Member, metric: str) -> bool:
    """Whether a run that counts has a finite value of a metric."""
    return member.counts and metric in member.scores and bool(np.isfinite(member.scores[metric].final))


def _apart(first: Record | None, record: Record | None, number: int) -> str:
    if number == 0:
        return ""
    if first is None or record is None:
        return "numbers whose measurement was not recorded, or is not one, are not ranked together"
    return str(comparable(first, record))


def _ranking(comparison: Comparison, metric: str, which: Which, places: Sequence[int]) -> Ranking | None:
    better = comparison.better[metric]
    if better is None:
        return None
    found = [comparison.groups[place].values(metric, which) for place in places]
    seeds = list(dict.fromkeys(seed for values in found for seed in values))
    return rank(np.array([[values.get(seed, np.nan) for seed in seeds] for values in found], dtype=float), better)


def summary(group: Group, metric: str, which: Which) -> tuple[float, float | None, int]:
    """Mean, spread over seeds and number of a group's values."""
    return spread(list(group.values(metric, which).values()))
