"""What a comparison says, in sentences: which group is better, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fmlab.comparison.groups import Comparison, Standing, Which, summary
from fmlab.comparison.statistics import MIN_PAIRS, Against

NAMED = 4
"""Groups that a sentence names; of more it tells the number."""


def number(value: float) -> str:
    """Four digits, which is more than any spread here allows."""
    return f"{value:.4g}"


def with_spread(mean: float, deviation: float | None) -> str:
    """`3.1 ± 0.25`, or the value alone where there is no spread."""
    return number(mean) + ("" if deviation is None else f" ± {deviation:.2g}")


def verdict(comparison: Comparison, metric: str, which: Which, standing: Standing) -> str:
    """One or two sentences on groups of one measurement; they claim nothing that the tests do not carry."""
    if comparison.better[metric] is None or standing.ranking is None:
        return f"It is not known whether less or more of {metric} is better: nothing is ranked."
    ranking, groups = standing.ranking, [comparison.groups[place] for place in standing.groups]
    best = groups[ranking.best]
    mean, deviation, count = summary(best, metric, which)
    value = f"{with_spread(mean, deviation)} ({_seeds(count)})"
    if len(groups) == 1:
        return f"{best.label}: {value}. There is nothing to compare it with."
    lowest = "lowest" if comparison.better[metric] == "less" else "highest"
    head = f"{best.label} has the {lowest} mean, {value}"
    if ranking.winner:
        rivals = "the other group" if len(groups) == 2 else f"each of the {len(groups) - 1} other groups"
        return f"{best.label} is the best, {value}: better than {rivals}, by paired tests at 5 % in all (Holm)."
    if ranking.family == 0:
        most = max(one.pairs for place, one in enumerate(ranking.against) if place != ranking.best)
        if most >= MIN_PAIRS:
            return f"{head}. Nothing is claimed: the differences do not vary with the seed."
        why = f"at most {_seeds(most)} {'is' if most == 1 else 'are'} shared with another group"
        return f"{head}. Nothing is claimed: {why}, and a claim needs {MIN_PAIRS} pairs."
    nearest = sorted(zip(groups, ranking.against), key=lambda pair: abs(pair[1].difference))
    worse = [group.label for group, one in nearest if one.verdict == "worse"]
    equal = [group.label for group, one in nearest if one.verdict == "not told apart"]
    other = len(groups) - 1 - len(worse) - len(equal)
    many = f"{len(worse)} of {len(groups) - 1} other groups"
    parts = [f"better than {many if len(worse) > NAMED else _list(worse)} (Holm, 5 % in all)"] if worse else []
    parts += [f"not told apart from {_list(equal)}"] if equal else []
    parts += [f"with {other} {'group' if other == 1 else 'groups'} it has too few pairs for a claim"] if other else []
    claim = "" if worse else " No group is shown to be the best."
    return f"{head}: {'; '.join(parts)}.{claim}"


def difference(one: Against) -> str:
    """The difference to the best, as a cell of a table."""
    if one.verdict == "best":
        return "best"
    if math.isnan(one.p):
        return f"too few pairs ({one.pairs})" if one.verdict == "too few pairs" else one.verdict
    return f"{one.difference:+.3g} [{one.low:.3g}, {one.high:.3g}]"


def _seeds(count: int) -> str:
    return f"{count} seed" + ("" if count == 1 else "s")


def _list(labels: Sequence[str]) -> str:
    shown = [f"“{label}”" for label in labels[:NAMED]]
    rest = len(labels) - NAMED
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
