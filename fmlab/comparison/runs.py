"""Runs read from their records: nothing is computed, and nothing heavy is imported."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fmlab.comparison.configs import SEED, Flags, describe_changes, flatten_config
from fmlab.errors import UserError
from fmlab.records import RunLayout, Status, find_run, read_meta, read_status
from fmlab.records.bounded import read_json_object, read_yaml_mapping
from fmlab.records.csv_metrics import read_columns
from fmlab.records.measurements import Record, Row, read_rows
from fmlab.records.starts import lasting_starts, read_starts


@dataclass(frozen=True)
class Curve:
    """One metric over training: the index of the step after which each value, finite or not, was logged."""

    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class Run:
    """The content of a run's folder.

    Attributes:
        flags: The configuration, by dotted keys.
        meta: Versions, git state, host, the network's size.
        measurement: How the metrics of its validation are measured; None if that was not recorded.
        setting: How the samples of its validation are made.
        curves: Every metric over training, by name, but for those by time.
        rows: The results of its evaluations, those of the exact field and of real data included.
        problem: Why its metrics cannot be read, in one line; empty where they can.
    """

    layout: RunLayout
    flags: Flags
    status: Status
    meta: dict[str, Any]
    measurement: Record | None
    setting: Record | None
    curves: dict[str, Curve]
    rows: list[Row]
    problem: str = ""

    @property
    def seed(self) -> Any:
        """What pairs it with runs of other groups."""
        return self.flags.get(SEED, self.meta.get("seed"))

    @property
    def done(self) -> bool:
        """Whether its last values are those of the whole training."""
        return self.status.state == "done"


def read_run(layout: RunLayout) -> Run:
    """Reads a run from its record; what is missing or torn counts as absent, except for the configuration."""
    config = read_yaml_mapping(layout.config)
    measured = read_json_object(layout.measurement)
    rows = [row for file in sorted(layout.root.glob("evaluations/*/rows.jsonl")) for row in read_rows(file)]
    curves, problem = _curves(layout.metrics)
    return Run(
        layout,
        {**flatten_config(config), **_changes(layout)},
        read_status(layout),
        read_meta(layout),
        measured.get("measurement"),
        measured.get("setting"),
        curves,
        rows,
        problem,
    )


def _changes(layout: RunLayout) -> Flags:
    """What was changed when the run was resumed, as one flag: a run that was never so is another experiment."""
    starts = lasting_starts(read_starts(layout))
    try:
        flags = [flatten_config(start.config) for start in starts]
        changes = [(starts[index + 1].step, describe_changes(*pair)) for index, pair in enumerate(pairwise(flags))]
    except RecursionError:  # nested as no configuration of ours is
        return {}
    texts = [f"at step {step}: {text}" for step, text in changes if text]
    return {"changed": "; ".join(texts)} if texts else {}


def _curves(file: Path) -> tuple[dict[str, Curve], str]:
    """Every metric but those by time, of which there are ten for each loss; none, and why, for a file not of ours."""
    try:
        columns = read_columns(file, lambda name: "_t_bin_" not in name)
    except UserError as error:
        return {}, f"{error.key}: {error.message}"
    return {name: Curve(steps, values) for name, (steps, values) in columns.items()}, ""


def find_runs(names: str | Path | Iterable[str | Path], runs_dir: str | Path = "runs") -> list[RunLayout]:
    """Finds the runs that names stand for, each once, sorted by their folders.

    A name is a run's folder or its id; a folder of runs or an experiment's name, which means all its runs; or a
    pattern such as `runs/paths/*`. What a pattern matches beside runs is passed over.

    Raises:
        UserError: If a name stands for no run, with the nearest name.
    """
    names = [names] if isinstance(names, (str, Path)) else list(names)
    if not names:
        raise UserError("which runs?", key="compare", hint="fmlab compare runs/digits/* or fmlab compare digits")
    layouts: dict[Path, RunLayout] = {}
    for name in names:
        for layout in _find(str(name), Path(runs_dir), alone=len(names) == 1):
            layouts.setdefault(layout.root.resolve(), layout)
    if not layouts:
        raise UserError("there are no runs here", key=" ".join(map(str, names[:3])), hint="a run has a config.yaml")
    return sorted(layouts.values(), key=lambda layout: str(layout.root))


def _find(name: str, runs_dir: Path, alone: bool) -> Iterator[RunLayout]:
    if not Path(name).exists() and glob.has_magic(name):
        matches = [Path(match) for match in glob.glob(name)] or list(runs_dir.glob(name))
        if not matches:
            raise UserError("matches nothing", key=name, hint=f"you are in {Path.cwd()}")
        for match in matches:
            yield from _runs_at(match)
        return
    for path in (Path(name), runs_dir / name):
        if path.exists():
            layouts = _runs_at(path)
            # A shell makes many names of a pattern, and one of them may be a file beside the runs.
            if layouts or not alone:
                yield from layouts
                return
    yield find_run(name, runs_dir)


def _runs_at(path: Path) -> Sequence[RunLayout]:
    """The run at a path, or all runs in it."""
    if (path / "config.yaml").is_file():
        return [RunLayout(path)]
    return [RunLayout(config.parent) for config in path.glob("*/config.yaml")] if path.is_dir() else []
