"""Which group of runs is better, paired by seed, and how sure that is.

The best group is chosen by the same numbers that it is then compared by, so every pair of groups could have become a
comparison with the best. The family is therefore all pairs, not only those with the winner: with these alone eight
equal groups would be told apart far too often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Of all intervals of a family together."""

MIN_PAIRS = 5
"""With fewer pairs nothing is claimed."""

ROUNDING = 1e-12
"""A relative spread that rounding alone may make, and that is none."""

Verdict = Literal["best", "worse", "not told apart", "too few pairs", "no spread"]


@dataclass(frozen=True)
class Against:
    """A group against the best one.

    Attributes:
        verdict: What can be said.
        pairs: Seeds that both have.
        difference: The mean of this group's values less the best group's, over these seeds; nan without a pair.
        low: The lower end of its interval; nan if nothing is claimed.
        high: The upper end.
        p: The p-value after Holm's step-down over all pairs of groups; nan if nothing is claimed.
    """

    verdict: Verdict
    pairs: int
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")


@dataclass(frozen=True)
class Ranking:
    """Groups that are measured alike.

    Attributes:
        best: The place of the best group.
        family: How many pairs of groups were tested, all at once.
        against: Every group against it, the best itself included.
    """

    best: int
    family: int
    against: list[Against]

    @property
    def winner(self) -> bool:
        """Whether the best group is better than every other one."""
        return len(self.against) > 1 and all(one.verdict in ("best", "worse") for one in self.against)


def rank(values: NDArray[np.float64], better: Literal["less", "more"]) -> Ranking:
    """Compares groups with the best of them.

    Paired two-sided t-tests of all pairs of groups that share at least five seeds, with Holm's step-down (1979). The
    intervals are Student's at the level of Holm's first step, 0.05 over the number of pairs, so that all of them hold
    together with 95 %; those at the levels of its later steps would not (Strassburger and Bretz 2008).

    Args:
        values: One row a group and one column a seed; nan where there is no run, or its value is not finite. Every
            group has a value.
        better: Whether less or more is better.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    best = _best(values, better)
    first, second, counts, means, errors = _pairs(values)
    tested = (counts >= MIN_PAIRS) & (errors > 0)
    p = np.full(len(first), np.nan)
    p[tested] = holm(p_value(means[tested] / errors[tested], counts[tested] - 1))
    family = int(tested.sum())
    with_best = {int(a if b == best else b): place for place, (a, b) in enumerate(zip(first, second)) if best in (a, b)}
    against = []
    for group in range(len(values)):
        if group == best:
            against.append(Against("best", int(np.isfinite(values[group]).sum()), 0.0, 0.0, 0.0))
            continue
        place = with_best[group]
        sign = 1.0 if first[place] == group else -1.0
        pairs, mean, error = int(counts[place]), sign * float(means[place]), float(errors[place])
        if not tested[place]:
            against.append(Against("too few pairs" if pairs < MIN_PAIRS else "no spread", pairs, mean))
            continue
        half = error * quantile(1 - (1 - LEVEL) / family / 2, pairs - 1)
        worse = p[place] < 1 - LEVEL and (mean > 0) == (better == "less")
        verdict: Verdict = "worse" if worse else "not told apart"
        against.append(Against(verdict, pairs, mean, mean - half, mean + half, float(p[place])))
    return Ranking(best, family, against)


def _best(values: NDArray[np.float64], better: Literal["less", "more"]) -> int:
    """The group of the best mean, among those with enough seeds for a claim if there are any."""
    counts = np.isfinite(values).sum(1)
    means = np.nansum(values, 1) / np.maximum(counts, 1) * (1.0 if better == "less" else -1.0)
    means[counts == 0] = np.inf
    enough = counts >= MIN_PAIRS
    return int(np.argmin(np.where(enough, means, np.inf) if enough.any() else means))


class _Pairs(NamedTuple):
    """All pairs of groups (a < b): how many seeds both have, the mean of a - b over them, its standard error."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    counts: NDArray[np.float64]
    means: NDArray[np.float64]
    errors: NDArray[np.float64]


def _pairs(values: NDArray[np.float64]) -> _Pairs:
    first, second = np.triu_indices(len(values), 1)
    counts, means, errors = (np.full(len(first), np.nan) for _ in range(3))
    end = 0
    for a in range(len(values) - 1):
        start, end = end, end + len(values) - 1 - a
        differences = values[a] - values[a + 1 :]
        there = np.isfinite(differences)
        n = there.sum(1)
        mean = np.where(there, differences, 0.0).sum(1) / np.maximum(n, 1)
        squares = (np.where(there, differences - mean[:, None], 0.0) ** 2).sum(1)
        counts[start:end], means[start:end] = n, np.where(n > 0, mean, np.nan)
        errors[start:end] = np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))
        scale = np.where(there, np.abs(differences), 0.0).max(1, initial=0.0)
        errors[start:end][errors[start:end] <= ROUNDING * scale] = 0.0
    return _Pairs(first, second, counts, means, errors)


def p_value(t: NDArray[np.float64], freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two-sided t-tests."""
    from scipy.special import stdtr

    return np.asarray(2 * stdtr(freedom, -np.abs(t)))


def quantile(probability: float, freedom: float) -> float:
    """Of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values: below 0.05 is what Holm's step-down rejects with 5 % for the whole family."""
    given = np.asarray(p, dtype=float)
    order = np.argsort(given)
    stepped = given[order] * (len(given) - np.arange(len(given)))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def spread(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Mean, standard deviation over seeds (none of one value alone) and number of the finite values."""
    finite = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    if not len(finite):
        return float("nan"), None, 0
    if len(finite) == 1:
        return float(finite[0]), None, 1
    mean, deviation = float(finite.mean()), float(finite.std(ddof=1))
    return mean, 0.0 if deviation <= ROUNDING * abs(mean) else deviation, len(finite)
