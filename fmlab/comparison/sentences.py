"""The result of a comparison in sentences: which group is better, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fmlab.comparison.groups import Comparison, Standing, Which
from fmlab.comparison.statistics import MIN_PAIRS, PairedTest

NAMED = 4
"""Groups that a sentence names; of more it gives the number."""


def number(value: float) -> str:
    """Writes four digits, which is more than any spread here allows."""
    return f"{value:.4g}"


def with_spread(mean: float, deviation: float | None) -> str:
    """Writes `3.1 ± 0.25`, or the value alone where there is no spread."""
    return number(mean) + ("" if deviation is None else f" ± {deviation:.2g}")


def describe_difference(test: PairedTest) -> str:
    """Writes the difference from the best group, as a cell of a table."""
    if test.verdict == "best":
        return "best"
    if math.isnan(test.p):
        return f"too few pairs ({test.pairs})" if test.verdict == "too few pairs" else test.verdict
    return f"{test.difference:+.3g} [{test.low:.3g}, {test.high:.3g}]"


def describe_standing(comparison: Comparison, metric: str, which: Which, standing: Standing) -> str:
    """Writes one or two sentences on groups of one measurement; they claim only what the tests show."""
    if comparison.better[metric] is None or standing.ranking is None:
        return f"The groups are not ranked: it is not known whether less or more of {metric} is better."
    ranking, groups = standing.ranking, [comparison.groups[index] for index in standing.groups]
    best, others = groups[ranking.best], len(groups) - 1
    mean, deviation, count = best.summarize(metric, which)
    value = f"{with_spread(mean, deviation)} ({_plural(count, 'seed')})"
    if others == 0:
        return f"{best.label}: {value}. There is no other group to compare it with."
    if ranking.winner:
        rivals = "the other group" if others == 1 else f"each of the {others} other groups"
        return f"{best.label} is the best, {value}: better than {rivals} (paired t-tests, 5 % in all, Holm)."
    extreme = "lowest" if comparison.better[metric] == "less" else "highest"
    head = f"{best.label} has the {extreme} mean, {value}"
    if ranking.family == 0:
        pairs = max(test.pairs for test in ranking.tests if test.verdict != "best")
        reason = f"a test needs {MIN_PAIRS} seeds that two groups share, and here at most {pairs} are shared"
        if pairs >= MIN_PAIRS:
            reason = "the differences are the same for every seed"
        return f"{head}. It is not tested whether it is better: {reason}."
    nearest = sorted(zip(groups, ranking.tests), key=lambda pair: abs(pair[1].difference))
    worse = [group.label for group, test in nearest if test.verdict == "worse"]
    equal = [group.label for group, test in nearest if test.verdict == "no clear difference"]
    untested = others - len(worse) - len(equal)
    rivals = f"{len(worse)} of {others} other groups" if len(worse) > NAMED else _join(worse)
    parts = [f"better than {rivals} (Holm, 5 % in all)"] if worse else []
    parts += [f"no clear difference from {_join(equal)}"] if equal else []
    parts += [f"not tested against {_plural(untested, 'group')} with too few shared seeds"] if untested else []
    return f"{head}: {'; '.join(parts)}." + ("" if worse else " No group is shown to be the best.")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _join(labels: Sequence[str]) -> str:
    text = ", ".join(f"“{label}”" for label in labels[:NAMED])
    return text + (f" and {len(labels) - NAMED} more" if len(labels) > NAMED else "")
