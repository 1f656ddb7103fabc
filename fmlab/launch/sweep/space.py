"""The parameters of a sweep: W&B's ranges and lists as what Optuna draws from, and a draw as the value of a flag.

A list is drawn as the JSON text of its entries, so that 1, 1.0 and true stay three things. What Optuna has no
distribution for is drawn as u in (0, 1) and mapped by the inverse of its distribution function.
"""

from __future__ import annotations

import json
import math
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate, product
from typing import TYPE_CHECKING, Any

import yaml

from fmlab.errors import UserError, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FORMS = ("value", "values", "probabilities", "min", "max", "distribution", "mu", "sigma", "q", "a", "b")
RANGES = (
    *("uniform", "q_uniform", "int_uniform", "log_uniform", "log_uniform_values", "q_log_uniform"),
    *("q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values"),
)
CURVES = ("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta")


def check_parameter(key: str, form: Any, method: str) -> None:
    """Checks what the file says of one flag: a constant, a list of values, or a range."""
    if not isinstance(form, dict):
        values = yaml.safe_dump(form if isinstance(form, list) else [form], default_flow_style=True, width=10_000)
        hint = f"write {key}: {{values: {values.strip()}}}"
        raise UserError("needs value, values, or min and max", key=key, hint=hint)
    if "parameters" in form or not set(form) & {*FORMS}:
        children = form.get("parameters", form)
        first = next(iter(children), "...") if isinstance(children, dict) else "..."
        cause = f"is nested; it would arrive as one flag, --{key}={{...}}"
        raise UserError(cause, key=key, hint=f"write flat keys: {key}.{first}")
    for word in form:
        if word not in FORMS:
            raise UserError(f"has no {word!r}", key=key, hint=nearest(str(word), FORMS))
    kinds = [kind for kind in ("value", "values", "min", "mu", "a") if kind in form]
    if len(kinds) > 1:
        raise UserError(f"has both {kinds[0]} and {kinds[1]}", key=key, hint="one of value, values, min and max")
    if "values" in form:
        values, shares = form["values"], form.get("probabilities")
        if not isinstance(values, list) or not values:
            raise UserError("values is no list, or an empty one", key=key, hint="values: [1, 2]")
        if shares is not None and (len(shares) != len(values) or abs(sum(shares) - 1) > 1e-6):
            raise UserError("probabilities must be one for each value, and add up to 1", key=key)
    elif "value" not in form and range_of(key, form) not in ("int_uniform", "q_uniform") and method == "grid":
        raise UserError("is a range, which a grid cannot list", key=key, hint="write values: [...], or method: random")


def range_of(key: str, form: Mapping[str, Any]) -> str:
    """Returns the name of a parameter's distribution, its bounds checked."""
    kind = form.get("distribution")
    if kind in CURVES:
        return str(kind)
    low, high = form.get("min"), form.get("max")
    for bound in (low, high):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise UserError("has no numbers as min and max", key=key, hint="min: 1.0e-4, max: 1.0e-2; or values: [...]")
    assert isinstance(low, (int, float))
    assert isinstance(high, (int, float))
    if kind is None:
        if type(low) is not type(high):
            hint = "both whole, or both with a point: min: 1.0, max: 2.0"
            raise UserError(f"min {low} and max {high} are of different kinds", key=key, hint=hint)
        kind = "int_uniform" if isinstance(low, int) else "uniform"
    if kind not in RANGES:
        raise UserError(f"there is no distribution {kind!r}", key=key, hint=nearest(str(kind), (*RANGES, *CURVES)))
    if low >= high:
        raise UserError(f"min {low} is not below max {high}", key=key)
    if kind.endswith("values") and low <= 0:
        raise UserError(f"min {low} has no logarithm", key=key, hint="min must be above 0")
    if kind.endswith("log_uniform") and max(abs(low), abs(high)) > 700:
        raise UserError(f"{kind} takes exponents", key=key, hint=f"for values: distribution: {kind}_values")
    if kind == "log_uniform" and low > 0 and high <= 1:
        hint = f"for values between {low:g} and {high:g}: distribution: log_uniform_values"
        raise UserError("log_uniform takes exponents of e", key=key, hint=hint)
    return str(kind)


def list_values(form: Mapping[str, Any]) -> list[Any]:
    """Lists the values that a grid goes through."""
    if "value" in form:
        return [form["value"]]
    if "values" in form:
        return list(form["values"])
    if range_of("", form) == "int_uniform":
        return list(range(form["min"], form["max"] + 1))
    step = form.get("q", 1)
    first, last = math.ceil(form["min"] / step), math.floor(form["max"] / step)
    return [_multiple(number, step) for number in range(first, last + 1)]


def grid(parameters: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lists every combination of the values, the last parameter changing fastest."""
    return [dict(zip(parameters, values)) for values in product(*map(list_values, parameters.values()))]


def distribution(form: Mapping[str, Any]) -> BaseDistribution | None:
    """Returns what Optuna draws from for a parameter; None for a constant."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "value" in form:
        return None
    if "probabilities" in form:
        return FloatDistribution(0.0, 1.0)
    if "values" in form:
        return CategoricalDistribution(list(dict.fromkeys(json.dumps(value) for value in form["values"])))
    kind = range_of("", form)
    if kind in CURVES:
        return FloatDistribution(1e-6, 1 - 1e-6)
    low, high = form["min"], form["max"]
    if kind == "int_uniform":
        return IntDistribution(low, high)
    if kind in ("uniform", "q_uniform"):
        return FloatDistribution(low, high)
    if kind.endswith("values"):
        return FloatDistribution(low, high, log=True)
    exponents = (-high, -low) if kind == "inv_log_uniform" else (low, high)
    return FloatDistribution(math.exp(exponents[0]), math.exp(exponents[1]), log=True)


def flag_value(form: Mapping[str, Any], draw: Any) -> Any:
    """Converts what Optuna drew to the value of the flag."""
    if "value" in form:
        return form["value"]
    if "probabilities" in form:
        return form["values"][min(bisect(list(accumulate(form["probabilities"])), draw), len(form["values"]) - 1)]
    if "values" in form:
        return json.loads(draw)
    kind = range_of("", form)
    number = _quantile(kind, form, draw) if kind in CURVES else draw
    step = form.get("q", 1)
    return _multiple(round(number / step), step) if kind.startswith("q_") else number


def _quantile(kind: str, form: Mapping[str, Any], probability: float) -> float:
    from scipy import stats

    if kind.endswith("beta"):
        return float(stats.beta.ppf(probability, form["a"], form["b"]))
    number = float(stats.norm.ppf(probability, form.get("mu", 0.0), form.get("sigma", 1.0)))
    return math.exp(number) if "log" in kind else number


def _multiple(count: int, step: float) -> float | int:
    """Multiples of a whole step are whole."""
    return round(step * count) if isinstance(step, int) else step * count
