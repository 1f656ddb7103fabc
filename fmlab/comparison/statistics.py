"""Which group of runs is better, paired by seed, and how sure that is.

The best group is chosen by the same numbers that it is then compared by, so every pair of groups could have become a
comparison with the best. The family is therefore all pairs, not only those with the winner: with these alone eight
equal groups would seem different far too often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Of all intervals of a family together."""

MIN_PAIRS = 5
"""With fewer pairs nothing is tested."""

ROUNDING = 1e-12
"""A relative spread up to this can come from rounding alone, and counts as none."""

Verdict = Literal["best", "worse", "no clear difference", "too few pairs", "no spread"]


@dataclass(frozen=True)
class PairedTest:
    """A group compared with the best one over the seeds that both have; nan is what was not tested.

    The difference is the mean of this group's values less the best group's, with its interval from low to high; p is
    the p-value after Holm's step-down over all pairs of groups.
    """

    verdict: Verdict
    pairs: int
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")


@dataclass(frozen=True)
class Ranking:
    """The index of the best group, how many pairs were tested, and all groups compared with it."""

    best: int
    family: int
    tests: list[PairedTest]

    @property
    def winner(self) -> bool:
        """Whether the best group is better than every other one."""
        return len(self.tests) > 1 and all(test.verdict in ("best", "worse") for test in self.tests)


def rank(values: NDArray[np.float64], better: Literal["less", "more"]) -> Ranking:
    """Compares groups with the best of them.

    Paired two-sided t-tests of all pairs of groups that share at least five seeds, with Holm's step-down (1979). The
    intervals are Student's at the level of Holm's first step, 0.05 over the number of pairs, so that all of them hold
    together with 95 %; those at the levels of its later steps would not (Strassburger and Bretz 2008).

    Args:
        values: Shape (groups, seeds); nan where there is no run, or its value is not finite. Every group has a value.
        better: Whether less or more is better.
    """
    from scipy.special import stdtr, stdtrit

    values = np.where(np.isfinite(values), values, np.nan)
    best = _best(values, better)
    first, second = np.triu_indices(len(values), 1)
    differences = values[first] - values[second]
    finite = np.isfinite(differences)
    counts = finite.sum(1)
    means = np.where(finite, differences, 0.0).sum(1) / np.maximum(counts, 1)
    squares = (np.where(finite, differences - means[:, None], 0.0) ** 2).sum(1)
    errors = np.sqrt(squares / np.maximum(counts - 1, 1) / np.maximum(counts, 1))
    errors[errors <= ROUNDING * np.where(finite, np.abs(differences), 0.0).max(1, initial=0.0)] = 0.0
    means[counts == 0] = np.nan
    tested = (counts >= MIN_PAIRS) & (errors > 0)
    p = np.full(len(first), np.nan)
    p[tested] = holm(2 * stdtr(counts[tested] - 1, -np.abs(means[tested] / errors[tested])))
    family = int(tested.sum())
    with_best = {int(a if b == best else b): index for index, (a, b) in enumerate(zip(first, second)) if best in (a, b)}
    tests = []
    for group in range(len(values)):
        if group == best:
            tests.append(PairedTest("best", int(np.isfinite(values[group]).sum()), 0.0, 0.0, 0.0))
            continue
        index = with_best[group]
        sign = 1.0 if first[index] == group else -1.0
        pairs, mean, error = int(counts[index]), sign * float(means[index]), float(errors[index])
        if not tested[index]:
            tests.append(PairedTest("too few pairs" if pairs < MIN_PAIRS else "no spread", pairs, mean))
            continue
        half = error * float(stdtrit(pairs - 1, 1 - (1 - LEVEL) / family / 2))
        worse = p[index] < 1 - LEVEL and (mean > 0) == (better == "less")
        verdict: Verdict = "worse" if worse else "no clear difference"
        tests.append(PairedTest(verdict, pairs, mean, mean - half, mean + half, float(p[index])))
    return Ranking(best, family, tests)


def _best(values: NDArray[np.float64], better: Literal["less", "more"]) -> int:
    """The group of the best mean, among those with enough seeds for a test if there are any."""
    counts = np.isfinite(values).sum(1)
    means = np.nansum(values, 1) / np.maximum(counts, 1) * (1.0 if better == "less" else -1.0)
    means[counts == 0] = np.inf
    enough = counts >= MIN_PAIRS
    return int(np.argmin(np.where(enough, means, np.inf) if enough.any() else means))


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusts p-values: below 0.05 is what Holm's step-down rejects with 5 % for the whole family."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1.0)
    return adjusted


def spread(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Returns mean, standard deviation over seeds (None for one value alone) and number of the finite values."""
    finite = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    if len(finite) < 2:
        return float(finite[0]) if len(finite) else float("nan"), None, len(finite)
    mean, deviation = float(finite.mean()), float(finite.std(ddof=1))
    return mean, 0.0 if deviation <= ROUNDING * abs(mean) else deviation, len(finite)
