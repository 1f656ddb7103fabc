"""Runs that differ in nothing but their seed are one group; groups are what is compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fmlab.comparison.configs import Flags, deciding_flags, differing_keys, identity, label
from fmlab.comparison.costs import Costs, read_costs
from fmlab.comparison.metrics import Score, Side, monitored, names, scores, side
from fmlab.comparison.runs import Run, find_runs, read_run
from fmlab.comparison.statistics import Ranking, rank, spread
from fmlab.errors import UserError, nearest
from fmlab.records.measurements import Record, comparable

Which = Literal["final", "best"]
"""The value at the end of training, or the best of all validations."""

WHICH: tuple[Which, ...] = ("final", "best")


@dataclass(frozen=True)
class Member:
    """A run of a comparison; it counts, so that its values are compared, if it is done and no later run repeats it."""

    run: Run
    scores: dict[str, Score]
    costs: Costs
    counts: bool


@dataclass
class SeedGroup:
    """Runs of one experiment and configuration, in the order of their seeds, in which alone they differ."""

    label: str
    flags: Flags
    members: list[Member]

    def values(self, metric: str, which: Which) -> dict[Any, float]:
        """Returns a metric of the runs that count, by seed."""
        return {
            member.run.seed: getattr(member.scores[metric], which)
            for member in self.members
            if member.counts and metric in member.scores
        }

    def summarize(self, metric: str, which: Which) -> tuple[float, float | None, int]:
        """Returns mean, spread over seeds and number of a metric's values."""
        return spread(list(self.values(metric, which).values()))


@dataclass(frozen=True)
class Standing:
    """The groups, by their indices, whose numbers of one metric are measured alike; one alone if that is not recorded.

    Attributes:
        ranking: Which of them is better; None if there is nothing to rank.
        apart: How the measurement differs from that of the first standing; empty for the first.
    """

    groups: list[int]
    ranking: Ranking | None
    apart: str = ""


@dataclass(frozen=True)
class Comparison:
    """Groups of runs side by side, with the keys that differ between them, all metrics, and the one to begin with.

    Of each metric less or more is better; None if that is not known. The problems say what could not be read.
    """

    groups: list[SeedGroup]
    keys: list[str]
    metrics: list[str]
    better: dict[str, Side | None]
    metric: str | None
    problems: list[str] = field(default_factory=list)

    @property
    def members(self) -> list[Member]:
        return [member for group in self.groups for member in group.members]

    def standings(self, metric: str, which: Which) -> list[Standing]:
        """Returns the groups that have a metric, those of one measurement together, most groups first."""
        measurements: dict[str, Record | None] = {}
        alike: dict[str, list[int]] = {}
        for index, group in enumerate(self.groups):
            records = [member.scores[metric].measurement for member in group.members if _has_value(member, metric)]
            if not records:
                continue
            record = records[0] if all(other == records[0] for other in records) else None
            # With one estimator each, records are comparable where they are equal; no need to look at every pair.
            key = f"alone {index}" if record is None else json.dumps(record, sort_keys=True, default=str)
            measurements[key] = record
            alike.setdefault(key, []).append(index)
        order = sorted(alike, key=lambda key: -len(alike[key]))
        return [
            Standing(
                alike[key],
                self._rank(metric, which, alike[key]),
                "" if key == order[0] else _explain_difference(measurements[order[0]], measurements[key]),
            )
            for key in order
        ]

    def _rank(self, metric: str, which: Which, indices: Sequence[int]) -> Ranking | None:
        better = self.better[metric]
        if better is None:
            return None
        values = [self.groups[index].values(metric, which) for index in indices]
        seeds = list(dict.fromkeys(seed for by_seed in values for seed in by_seed))
        return rank(
            np.array([[by_seed.get(seed, np.nan) for seed in seeds] for by_seed in values], dtype=float), better
        )


def compare(runs: str | Path | Iterable[str | Path], metric: str | None = None, runs_dir: str = "runs") -> Comparison:
    """Reads runs, named as `find_runs` reads them, and sorts them into groups.

    Raises:
        UserError: If there is no such run, or no run has the metric.
    """
    layouts, readable, problems = find_runs(runs, runs_dir), [], []
    for layout in layouts:
        try:
            readable.append(read_run(layout))
        except UserError as error:
            if layout == layouts[-1] and not readable:
                raise
            problems.append(f"{error.key}: {error.message}")
    comparison = group_runs(readable, metric)
    return replace(comparison, problems=[*problems, *(run.problem for run in readable if run.problem)])


def group_runs(runs: Sequence[Run], metric: str | None = None) -> Comparison:
    """Sorts runs into groups."""
    metrics = names(runs)
    if metric is not None and metric not in metrics:
        raise UserError("none of the runs has this metric", key=f"--metric {metric}", hint=nearest(metric, metrics))
    better = {name: side(name, runs) for name in metrics}
    by_identity: dict[Any, list[Run]] = {}
    for run in runs:
        by_identity.setdefault((run.layout.experiment, identity(deciding_flags(run.flags))), []).append(run)
    flags = [deciding_flags(same[0].flags) for same in by_identity.values()]
    keys = differing_keys(flags)
    several = len({experiment for experiment, _ in by_identity}) > 1
    groups = []
    for same, own in zip(by_identity.values(), flags):
        differences = label(own, keys)
        parts = [same[0].layout.experiment if several or not differences else "", differences]
        groups.append(SeedGroup(": ".join(filter(None, parts)), own, _members(same, better)))
    return Comparison(groups, keys, metrics, better, metric or monitored(runs, metrics))


def _members(runs: Sequence[Run], better: dict[str, Side | None]) -> list[Member]:
    """The runs by seed; of several finished ones with one seed the newest counts."""
    newest: dict[Any, Run] = {}
    for run in sorted((run for run in runs if run.done), key=lambda run: str(run.meta.get("created", run.layout.id))):
        newest[run.seed] = run
    members = [Member(run, scores(run, better), read_costs(run), newest.get(run.seed) is run) for run in runs]
    return sorted(members, key=lambda member: (str(type(member.run.seed)), member.run.seed, member.run.layout.id))


def _has_value(member: Member, metric: str) -> bool:
    """Whether a run that counts has a finite value of a metric."""
    return member.counts and metric in member.scores and bool(np.isfinite(member.scores[metric].final))


def _explain_difference(first: Record | None, other: Record | None) -> str:
    if first is None or other is None:
        return "not ranked with the groups above, because how these numbers were measured is not recorded"
    return str(comparable(first, other))
