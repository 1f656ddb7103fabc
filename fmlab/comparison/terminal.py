"""A comparison as text: which group is better, and a row for each group."""

from __future__ import annotations

import math
from statistics import fmean

from fmlab.comparison.groups import Comparison, Standing
from fmlab.comparison.sentences import describe_difference, describe_standing, number, with_spread

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
