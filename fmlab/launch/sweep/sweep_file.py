"""A sweep file: W&B's own schema, with flat dotted keys that are the flags of the command it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge

from fmlab.config.build import build
from fmlab.config.values import read_file
from fmlab.errors import UserError, nearest
from fmlab.launch.sweep.command import check_command, find_program
from fmlab.launch.sweep.space import check_parameter, grid

METHODS = ("grid", "random", "bayes")


@dataclass(frozen=True)
class Metric:
    """The metric that is optimised or compared."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"


@dataclass(frozen=True)
class EarlyStop:
    """W&B's `hyperband`: at each band the best share of 1/eta continues; bands count reports of the metric.

    The first band is `min_iter`, or `max_iter / eta^s`; each following one is `eta` times as far.
    """

    type: Literal["hyperband"]
    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None
    eta: Annotated[int, Ge(2)] = 3

    def __post_init__(self) -> None:
        if (self.min_iter is None and None in (self.max_iter, self.s)) or self.first < 1:
            hint = "early_terminate: {type: hyperband, min_iter: 2, eta: 3}"
            raise UserError("needs min_iter, or max_iter and s: at least 1 report", key="early_terminate", hint=hint)

    @property
    def first(self) -> int:
        """The first band."""
        return self.min_iter if self.min_iter is not None else int((self.max_iter or 0) / self.eta ** (self.s or 0))


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file.

    Attributes:
        name: Its `name`, or the file's; the trials' runs lie in a folder of this name.
        parameters: Each flag with its choices, as W&B writes them.
        command: The words of the command, with W&B's macros such as `${args}`.

    Raises:
        UserError: At the first thing that W&B or this package would misread.
    """

    file: Path
    name: str
    program: str = ""
    method: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    metric: Metric | None = None
    run_cap: Annotated[int, Ge(1)] | None = None
    early_terminate: EarlyStop | None = None
    project: str | None = None
    entity: str | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"there is no method {self.method!r}", key="method", hint=nearest(self.method, METHODS))
        needs = "bayes" if self.method == "bayes" else "early_terminate" if self.early_terminate else None
        if self.metric is None and needs:
            hint = "metric: {name: val/fid_domain, goal: minimize}"
            raise UserError(f"names no metric, which {needs} needs", key="metric", hint=hint)
        if not re.fullmatch(r"[\w][\w.+=@-]*", self.name):
            raise UserError(f"{self.name!r} is no folder's name", key="name", hint="letters, digits and . _ - + = @")
        if not self.program:
            raise UserError("is missing; W&B's agents skip every trial without it", key="program", hint="fmlab")
        check_command(self.command)
        if not self.parameters:
            hint = "model.path: {values: [CondOT, VP]}"
            raise UserError("the file has no parameters", key="parameters", hint=hint)
        for name, form in self.parameters.items():
            check_parameter(name, form, self.method)

    @property
    def head(self) -> list[str]:
        """The words of the command up to its first flag: `["fmlab", "fit"]`, also of `python -m fmlab fit`."""
        return find_program(self.command)

    @property
    def metric_name(self) -> str | None:
        """The name of the metric, if there is one."""
        return self.metric.name if self.metric else None

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric is not None and self.metric.goal == "maximize"

    @property
    def varied(self) -> list[str]:
        """The flags that differ between trials."""
        return [name for name, form in self.parameters.items() if "value" not in form]

    def count_trials(self, requested: int | None = None) -> int:
        """Returns how many trials there are to be: so many, or the `run_cap`, and of a grid at most all points."""
        points = len(grid(self.parameters)) if self.method == "grid" else None
        count = requested or self.run_cap or points
        if count is None:
            cause = f"a {self.method} search has no end of its own"
            raise UserError(cause, key=str(self.file), hint="write run_cap: 20 into the file, or give --trials 20")
        return count if points is None else min(count, points)


def read_sweep(file: Path) -> Sweep:
    """Reads a sweep file."""
    content = read_file(file)
    try:
        refuse_traps(file, content)
        if "file" in content:
            raise UserError("unknown key", key="file")
        sweep: Sweep = build({"name": file.stem, **content, "file": str(file)}, Sweep, "", trust=False)
    except UserError as error:
        raise UserError(error.message, key=": ".join(filter(None, [str(file), error.key])), hint=error.hint) from error
    return sweep


def refuse_traps(file: Path, content: dict[str, Any]) -> None:
    """Refuses the first word that YAML 1.1 does not read as `content` has it."""
    try:
        other = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"W&B cannot read the file: {' '.join(str(error).split())[:120]}") from error
    for keys, old, new in _differences(other, content, ()):
        key, written = ".".join(keys), yaml.safe_dump(new if isinstance(old, str) else old).split()[0]
        if isinstance(old, str):
            raise UserError(f"{old} is a text in YAML 1.1, which W&B reads", key=key, hint=f"write {written}")
        if isinstance(old, date):
            raise UserError(f"{new} is a date in YAML 1.1, which W&B reads", key=key, hint=f'write "{new}" in quotes')
        hint = f'write {written}, or "{new}" in quotes for the word'
        raise UserError(f"{new} is {written} in YAML 1.1, which W&B reads", key=key, hint=hint)


def _differences(old: Any, new: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two readings of one text differ: the keys, and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for (old_key, old_value), (new_key, new_value) in zip(old.items(), new.items()):
            for pair in ((old_key, new_key), (old_value, new_value)):
                yield from _differences(*pair, (*keys, str(new_key)))
    elif isinstance(old, list) and isinstance(new, list):
        for pair in zip(old, new):
            yield from _differences(*pair, keys)
    elif type(old) is not type(new) or repr(old) != repr(new):
        yield keys, old, new
