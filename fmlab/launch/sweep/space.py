"""W&B's ranges and lists as what Optuna draws from, and what was drawn as the value of a flag.

A list is drawn as the JSON text of its entries, so that 1, 1.0 and true stay three things. What Optuna has no
distribution for is drawn as u in (0, 1) and mapped by the inverse of its distribution function.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

from fmlab.errors import UserError, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

RANGES = (
    *("uniform", "q_uniform", "int_uniform", "log_uniform", "log_uniform_values", "q_log_uniform"),
    *("q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values"),
)
CURVES = ("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta")


def range_of(key: str, form: Mapping[str, Any]) -> str:
    """The name of a parameter's distribution, its bounds checked.

    Raises:
        UserError: If it is no distribution, or its bounds are none.
    """
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


def is_listable(kind: str, form: Mapping[str, Any]) -> bool:
    """Whether a grid can go through a range: whole numbers, or multiples of q."""
    return kind == "int_uniform" or kind == "q_uniform"


def listed(form: Mapping[str, Any]) -> list[Any]:
    """The values that a grid goes through."""
    if "value" in form:
        return [form["value"]]
    if "values" in form:
        return list(form["values"])
    if range_of("", form) == "int_uniform":
        return list(range(form["min"], form["max"] + 1))
    step = form.get("q", 1)
    first, last = math.ceil(form["min"] / step), math.floor(form["max"] / step)
    return [_whole(step * number, step) for number in range(first, last + 1)]


def grid(parameters: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every combination of the listed values, the last parameter changing fastest."""
    names = list(parameters)
    return [dict(zip(names, values)) for values in product(*(listed(parameters[name]) for name in names))]


def distribution(form: Mapping[str, Any]) -> BaseDistribution | None:
    """What Optuna draws from for a parameter; None for a constant."""
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
    signs = (-high, -low) if kind == "inv_log_uniform" else (low, high)  # exponents of e
    return FloatDistribution(math.exp(signs[0]), math.exp(signs[1]), log=True)


def value(form: Mapping[str, Any], drawn: Any) -> Any:
    """The value of the flag for what was drawn."""
    if "value" in form:
        return form["value"]
    if "probabilities" in form:
        return _by_odds(form["values"], form["probabilities"], drawn)
    if "values" in form:
        return json.loads(drawn)
    kind = range_of("", form)
    number = _quantile(kind, form, drawn) if kind in CURVES else drawn
    if kind.startswith("q_"):
        step = form.get("q", 1)
        return _whole(step * round(number / step), step)
    return number


def _by_odds(values: list[Any], odds: list[float], drawn: float) -> Any:
    total = 0.0
    for entry, share in zip(values, odds):
        total += share
        if drawn < total:
            return entry
    return values[-1]


def _quantile(kind: str, form: Mapping[str, Any], share: float) -> float:
    from scipy import stats

    if kind.endswith("beta"):
        return float(stats.beta.ppf(share, form["a"], form["b"]))
    number = float(stats.norm.ppf(share, form.get("mu", 0.0), form.get("sigma", 1.0)))
    return math.exp(number) if "log" in kind else number


def _whole(number: float, step: float) -> float | int:
    """Multiples of a whole step are whole."""
    return round(number) if isinstance(step, int) else number
