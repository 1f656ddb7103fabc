"""Runs as their records tell of them: nothing is computed, and nothing heavy is imported."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fmlab.comparison.configs import SEED, Flags, flags
from fmlab.errors import UserError
from fmlab.records import RunLayout, Status, find_run, read_meta, read_status
from fmlab.records.csv_metrics import read_columns
from fmlab.records.evaluations import Row, rows_in
from fmlab.records.measured import Record

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of the two that read the same, the fast one


@dataclass(frozen=True)
class Curve:
    """One metric over training.

    Attributes:
        steps: The index of the step after which each value was logged.
        values: The values, which need not be finite.
    """

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What a run's folder holds.

    Attributes:
        layout: The folder.
        flags: The configuration, by dotted keys.
        status: Whether it is done.
        meta: Versions, git state, host, the network's size.
        measurement: How the metrics of its validation are measured; None if that was not recorded.
        setting: How the samples of its validation are made.
        curves: Every metric over training, by name, but for those by time.
        rows: What evaluations of it found, the exact field and real data included.
    """

    layout: RunLayout
    flags: Flags
    status: Status
    meta: dict[str, Any]
    measurement: Record | None
    setting: Record | None
    curves: dict[str, Curve]
    rows: list[Row]

    @property
    def seed(self) -> Any:
        """What it is paired by with runs of other groups."""
        return self.flags.get(SEED, self.meta.get("seed"))

    @property
    def done(self) -> bool:
        """Whether its last values are those of the whole training."""
        return self.status.state == "done"


def read_run(layout: RunLayout) -> Run:
    """A run from its record; what is missing or torn is taken as not there, but for the configuration.

    Raises:
        UserError: If there is no configuration that can be read.
    """
    try:
        config = yaml.load(layout.config.read_bytes(), _Loader)
    except (OSError, yaml.YAMLError) as error:
        raise UserError("cannot be read", key=str(layout.config), hint=str(error).splitlines()[0]) from error
    if not isinstance(config, dict):
        raise UserError("is no configuration", key=str(layout.config))
    measured = _json(layout.root / "measurement.json")
    rows = [row for file in sorted(layout.root.glob("evaluations/*/rows.jsonl")) for row in rows_in(file)]
    return Run(
        layout,
        flags(config),
        read_status(layout),
        read_meta(layout),
        measured.get("measurement"),
        measured.get("setting"),
        _curves(layout.metrics),
        rows,
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _curves(file: Path) -> dict[str, Curve]:
    """Every metric but those by time, of which there are ten for each loss."""
    try:
        found = read_columns(file, lambda name: "_t_bin_" not in name)
    except ValueError:  # not a file of ours
        return {}
    return {name: Curve(steps, values) for name, (steps, values) in found.items()}


def find_runs(words: str | Path | Iterable[str | Path], runs_dir: str | Path = "runs") -> list[RunLayout]:
    """The runs that words name, each once, in the order of their names.

    A word is a run's folder or its id; a folder of runs or an experiment's name, which means all its runs; or a
    pattern such as `runs/paths/*`. What a pattern meets beside runs is passed over.

    Raises:
        UserError: If a word names no run, with the nearest name.
    """
    words = [words] if isinstance(words, (str, Path)) else list(words)
    if not words:
        raise UserError("which runs?", key="compare", hint="fmlab compare runs/digits/* or fmlab compare digits")
    found: dict[Path, RunLayout] = {}
    for word in words:
        for layout in _named(str(word), Path(runs_dir), alone=len(words) == 1):
            found.setdefault(layout.root.resolve(), layout)
    if not found:
        raise UserError("there are no runs here", key=" ".join(map(str, words[:3])), hint="a run has a config.yaml")
    return sorted(found.values(), key=lambda layout: str(layout.root))


def _named(word: str, runs_dir: Path, alone: bool) -> Iterator[RunLayout]:
    if not Path(word).exists() and glob.has_magic(word):
        places = [Path(place) for place in glob.glob(word)] or list(runs_dir.glob(word))
        for place in places:
            yield from _at(place)
        if not places:
            raise UserError("matches nothing", key=word, hint=f"you are in {Path.cwd()}")
        return
    for place in (Path(word), runs_dir / word):
        if place.exists():
            inside = list(_at(place))
            # Of many words a shell made of a pattern, one may be a file beside the runs.
            if inside or not alone:
                yield from inside
                return
    yield find_run(word, runs_dir)


def _at(place: Path) -> Sequence[RunLayout]:
    """The run at a place, or all runs in it."""
    if (place / "config.yaml").is_file():
        return [RunLayout(place)]
    return [RunLayout(config.parent) for config in place.glob("*/config.yaml")] if place.is_dir() else []
