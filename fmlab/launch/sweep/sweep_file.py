"""A sweep file: W&B's own schema, with flat dotted keys that are the flags of the command it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fmlab.errors import UserError, nearest
from fmlab.launch.sweep.command import check_command
from fmlab.launch.sweep.traps import find_traps

METHODS = ("grid", "random", "bayes")
_KEYS = (
    *("program", "project", "entity", "name", "description", "method", "metric", "parameters"),
    *("early_terminate", "run_cap", "command"),
)
_FORMS = ("value", "values", "probabilities", "min", "max", "distribution", "mu", "sigma", "q", "a", "b")


@dataclass(frozen=True)
class EarlyStop:
    """W&B's `hyperband`: at the bands, counted in reports of the metric, the best share of 1/eta goes on.

    Attributes:
        first: The first band; each following one is `eta` times as far.
        eta: One of so many goes on.
    """

    first: int
    eta: int


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

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
        words = [word for word in self.command if word not in ("${env}", "/usr/bin/env", "${interpreter}")]
        if words[:1] and Path(words[0]).name.startswith("python"):
            words = words[1:]
        if words[:2] == ["-m", "fmlab"]:
            words = words[1:]
        ends = next((place for place, word in enumerate(words) if word.startswith(("-", "${"))), len(words))
        return [Path(words[0]).name, *words[1:ends]] if ends else []


def read_sweep(file: Path) -> Sweep:
    """The sweep that a file describes, once nothing in it is a known trap.

    Raises:
        UserError: At the first thing that W&B or this engine would misread.
    """
    content = _read(file)
    find_traps(file)
    for key in content:
        if key not in _KEYS:
            raise UserError("is no key of a sweep", key=f"{file}: {key}", hint=nearest(str(key), _KEYS))
    method = content.get("method")
    if method not in METHODS:
        raise UserError(f"there is no method {method!r}", key=f"{file}: method", hint=nearest(str(method), METHODS))
    metric = _metric(file, content)
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
        _parameters(file, content, method),
        command,
        metric["name"] if metric else None,
        metric is not None and metric.get("goal") == "maximize",
        cap,
        _early(file, content, metric),
        content,
    )


def _read(file: Path) -> dict[str, Any]:
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


def _metric(file: Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    metric = content.get("metric")
    wanted = content["method"] == "bayes" or "early_terminate" in content
    if metric is None and not wanted:
        return None
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        why = "bayes" if content["method"] == "bayes" else "early_terminate"
        hint = "metric: {name: val/fid_domain, goal: minimize}"
        raise UserError(
            f"names no metric, which {why} needs" if wanted else "names no metric", key=f"{file}: metric", hint=hint
        )
    for key in metric:
        if key not in ("name", "goal"):
            raise UserError("is no key of a metric here", key=f"{file}: metric.{key}", hint="name and goal")
    if metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise UserError(f"is {metric['goal']!r}", key=f"{file}: metric.goal", hint="minimize or maximize")
    return metric


def _parameters(file: Path, content: Mapping[str, Any], method: str) -> dict[str, dict[str, Any]]:
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UserError("there are none", key=f"{file}: parameters", hint="model.path: {values: [CondOT, VP]}")
    for name, form in parameters.items():
        _check_form(f"{file}: {name}", str(name), form, method)
    return {str(name): form for name, form in parameters.items()}


def _check_form(key: str, name: str, form: Any, method: str) -> None:
    """One parameter: a constant, a list of values, or a range."""
    if not isinstance(form, dict):
        listed = form if isinstance(form, list) else [form]
        raise UserError("has no form", key=key, hint=f"write {name}: {{values: {_flow(listed)}}}")
    if "parameters" in form or not set(form) & {*_FORMS}:
        inner = form.get("parameters", form)
        first = next(iter(inner), "...") if isinstance(inner, dict) else "..."
        cause = f"is nested; it would arrive as one flag, --{name}={{...}}"
        raise UserError(cause, key=key, hint=f"write flat keys: {name}.{first}")
    for word in form:
        if word not in _FORMS:
            raise UserError(f"has no {word!r}", key=key, hint=nearest(str(word), _FORMS))
    ways = [way for way in ("value", "values", "min", "mu", "a") if way in form]
    if len(ways) > 1:
        raise UserError(f"has both {ways[0]} and {ways[1]}", key=key, hint="one of value, values, min and max")
    if "values" in form:
        _check_values(key, form)
    elif "value" not in form:
        _check_range(key, form, method)


def _check_values(key: str, form: Mapping[str, Any]) -> None:
    values = form["values"]
    if not isinstance(values, list) or not values:
        raise UserError("values is no list, or an empty one", key=key, hint="values: [1, 2]")
    odds = form.get("probabilities")
    if odds is not None and (len(odds) != len(values) or abs(sum(odds) - 1) > 1e-6):
        raise UserError("probabilities are not one a value, adding up to 1", key=key)


def _check_range(key: str, form: Mapping[str, Any], method: str) -> None:
    from fmlab.launch.sweep.space import is_listable, range_of  # what a range is stands there

    kind = range_of(key, form)
    if method == "grid" and not is_listable(kind, form):
        raise UserError("is a range, which a grid cannot list", key=key, hint="write values: [...], or method: random")


def _early(file: Path, content: Mapping[str, Any], metric: Mapping[str, Any] | None) -> EarlyStop | None:
    early = content.get("early_terminate")
    if early is None:
        return None
    key = f"{file}: early_terminate"
    hint = "early_terminate: {type: hyperband, min_iter: 2, eta: 3}"
    if not isinstance(early, dict) or early.get("type") != "hyperband":
        raise UserError("knows the type hyperband only", key=key, hint=hint)
    for word in early:
        if word not in ("type", "min_iter", "max_iter", "s", "eta"):
            raise UserError(
                f"has no {word!r} here", key=key, hint=nearest(str(word), ("min_iter", "max_iter", "s", "eta"))
            )
    eta = early.get("eta", 3)
    if type(eta) is not int or eta < 2:
        raise UserError(f"eta is {eta!r}", key=key, hint="a whole number, at least 2")
    if "min_iter" in early:
        first = early["min_iter"]
    elif "max_iter" in early and "s" in early:
        first = int(early["max_iter"] / eta ** early["s"])
    else:
        raise UserError("needs min_iter, or max_iter and s", key=key, hint=hint)
    if type(first) is not int or first < 1:
        raise UserError(f"its first band is {first!r}", key=key, hint="at least one report of the metric")
    return EarlyStop(first, eta)


def _flow(values: Any) -> str:
    return yaml.safe_dump(values, default_flow_style=True, width=10_000).strip()
