"""A sweep file: W&B's own schema, with flat dotted keys that are the flags of the command it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fmlab.errors import UserError, nearest
from fmlab.launch.sweep.command import check_command, find_program
from fmlab.launch.sweep.space import check_parameter, grid
from fmlab.launch.sweep.traps import refuse_traps

METHODS = ("grid", "random", "bayes")
_KEYS = (
    *("program", "project", "entity", "name", "description", "method", "metric", "parameters"),
    *("early_terminate", "run_cap", "command"),
)


@dataclass(frozen=True)
class EarlyStop:
    """W&B's `hyperband`: at each band the best share of 1/eta continues; bands count reports of the metric.

    Attributes:
        first: The first band; each following one is `eta` times as far.
        eta: One of so many continues.
    """

    first: int
    eta: int


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file.

    Attributes:
        file: The file.
        name: Its `name`, or the file's; the trials' runs lie in a folder of this name.
        method: `grid`, `random` or `bayes`.
        parameters: Each flag with its choices, as W&B writes them.
        command: The words of the command, with W&B's macros such as `${args}`.
        metric: The name of the metric, if one is optimised or compared.
        maximize: Whether more of it is better.
        run_cap: How many trials at most.
        early: When bad trials are stopped, if they are.
        content: The whole file.
    """

    file: Path
    name: str
    method: str
    parameters: dict[str, dict[str, Any]]
    command: list[str]
    metric: str | None = None
    maximize: bool = False
    run_cap: int | None = None
    early: EarlyStop | None = None
    content: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def program(self) -> list[str]:
        """The words of the command up to its first flag: `["fmlab", "fit"]`, also of `python -m fmlab fit`."""
        return find_program(self.command)

    @property
    def varied(self) -> list[str]:
        """The flags that differ between trials."""
        return [name for name, form in self.parameters.items() if "value" not in form]

    def count_trials(self, requested: int | None = None) -> int:
        """Returns how many trials there are to be: so many, or the `run_cap`, and of a grid at most all points.

        Raises:
            UserError: If nobody says how many.
        """
        points = len(grid(self.parameters)) if self.method == "grid" else None
        count = requested or self.run_cap or points
        if count is None:
            cause = f"a {self.method} search has no end of its own"
            raise UserError(cause, key=str(self.file), hint="write run_cap: 20 into the file, or give --trials 20")
        return count if points is None else min(count, points)


def read_sweep(file: Path) -> Sweep:
    """Reads a sweep file.

    Raises:
        UserError: At the first thing that W&B or this package would misread.
    """
    content = _read_yaml(file)
    refuse_traps(file)
    _check_keys(f"{file}: ", content, _KEYS)
    method = content.get("method")
    if method not in METHODS:
        raise UserError(f"there is no method {method!r}", key=f"{file}: method", hint=nearest(str(method), METHODS))
    metric = _read_metric(file, content)
    name = str(content.get("name") or file.stem)
    if not re.fullmatch(r"[\w][\w.+=@-]*", name):
        raise UserError(f"{name!r} is no folder's name", key=f"{file}: name", hint="letters, digits and . _ - + = @")
    if "program" not in content:
        raise UserError("is missing; W&B's agents skip every trial without it", key=f"{file}: program", hint="fmlab")
    command = check_command(file, content.get("command"))
    cap = content.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise UserError(f"{cap!r} trials", key=f"{file}: run_cap", hint="a whole number, at least 1")
    return Sweep(
        file,
        name,
        method,
        _read_parameters(file, content),
        command,
        metric["name"] if metric else None,
        metric is not None and metric.get("goal") == "maximize",
        cap,
        _read_early_stop(file, content),
        content,
    )


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))  # as `wandb sweep` reads it
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UserError(" ".join((error.problem or "not YAML").split()), key=f"{file}:{line}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError("is not YAML text", key=str(file)) from error
    if not isinstance(content, dict):
        raise UserError("expected `key: value` lines", key=str(file), hint="see sweeps/paths.yaml")
    return content


def _check_keys(prefix: str, content: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in content:
        if key not in keys:
            raise UserError("unknown key", key=f"{prefix}{key}", hint=nearest(str(key), keys))


def _read_metric(file: Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    metric = content.get("metric")
    needs = "bayes" if content["method"] == "bayes" else "early_terminate" if "early_terminate" in content else None
    reason = f", which {needs} needs" if needs else ""
    if metric is None and not reason:
        return None
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        hint = "metric: {name: val/fid_domain, goal: minimize}"
        raise UserError(f"names no metric{reason}", key=f"{file}: metric", hint=hint)
    _check_keys(f"{file}: metric.", metric, ("name", "goal"))
    if metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise UserError(f"is {metric['goal']!r}", key=f"{file}: metric.goal", hint="minimize or maximize")
    return metric


def _read_parameters(file: Path, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(
            "the file has no parameters", key=f"{file}: parameters", hint="model.path: {values: [CondOT, VP]}"
        )
    for name, form in parameters.items():
        check_parameter(f"{file}: {name}", str(name), form, content["method"])
    return {str(name): form for name, form in parameters.items()}


def _read_early_stop(file: Path, content: Mapping[str, Any]) -> EarlyStop | None:
    early, key = content.get("early_terminate"), f"{file}: early_terminate"
    if early is None:
        return None
    hint = "early_terminate: {type: hyperband, min_iter: 2, eta: 3}"
    if not isinstance(early, dict) or early.get("type") != "hyperband":
        raise UserError("the only type is hyperband", key=key, hint=hint)
    _check_keys(f"{key}.", early, ("type", "min_iter", "max_iter", "s", "eta"))
    eta = early.get("eta", 3)
    if type(eta) is not int or eta < 2:
        raise UserError(f"eta is {eta!r}", key=key, hint="a whole number, at least 2")
    if "min_iter" not in early and not {"max_iter", "s"} <= early.keys():
        raise UserError("needs min_iter, or max_iter and s", key=key, hint=hint)
    first = early["min_iter"] if "min_iter" in early else int(early["max_iter"] / eta ** early["s"])
    if type(first) is not int or first < 1:
        raise UserError(f"its first band is {first!r}", key=key, hint="at least one report of the metric")
    return EarlyStop(first, eta)
