"""A comparison as text: in sentences which group is better and how sure that is, and a row for each group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

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


ROWS = 20
HEAD = ["group", "seeds", "mean ± sd", "best", "difference [95 %]", "p (Holm)", "images/s"]


def report(comparison: Comparison, rows: int = ROWS) -> str:
    """Writes the final values of the metric, best first, a table for each measurement; at most so many rows."""
    metric = comparison.metric
    if metric is None:
        return "These runs have no metrics yet.\n"
    blocks, left = [], rows
    for standing in comparison.standings(metric, "final"):
        lines = _rows(comparison, metric, standing)
        if left > 0:
            apart = f"{standing.apart[:1].upper()}{standing.apart[1:]}.\n" if standing.apart else ""
            sentence = describe_standing(comparison, metric, "final", standing)
            blocks.append(f"{apart}{_align([HEAD, *lines[:left]])}\n{sentence}\n")
        left -= len(lines)
    if left < 0:
        blocks.append(f"and {-left} more groups\n")
    others = [member for member in comparison.members if not member.counts or metric not in member.scores]
    if others:
        states = ", ".join(f"{member.run.layout.id} ({_reason(member.run.status.state)})" for member in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        blocks.append(f"not counted: {states}{more}\n")
    return f"{metric}, final\n\n" + ("\n".join(blocks) if blocks else "No finished run has a value of it.\n")


def _reason(state: str) -> str:
    return "no value, or a later run has its seed" if state == "done" else state


def _rows(comparison: Comparison, metric: str, standing: Standing) -> list[list[str]]:
    sign, rows = -1 if comparison.better[metric] == "more" else 1, []
    for position, index in enumerate(standing.groups):
        group = comparison.groups[index]
        mean, deviation, count = group.summarize(metric, "final")
        test = standing.ranking.tests[position] if standing.ranking and len(standing.groups) > 1 else None
        speeds = [member.costs.images_per_second for member in group.members if member.counts]
        finite = [speed for speed in speeds if speed is not None]
        row = [
            group.label if len(group.label) <= 60 else group.label[:59] + "…",
            str(count),
            with_spread(mean, deviation),
            with_spread(*group.summarize(metric, "best")[:2]),
            "" if test is None else describe_difference(test),
            "" if test is None or math.isnan(test.p) else number(test.p),
            f"{fmean(finite):.0f}" if finite else "",
        ]
        rows.append((sign * mean, row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _align(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)
