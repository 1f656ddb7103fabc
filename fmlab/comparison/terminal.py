"""A comparison as text: what is said of it, and a row a group."""

from __future__ import annotations

from fmlab.comparison.groups import Comparison, Standing, summary
from fmlab.comparison.words import difference, number, verdict, with_spread

ROWS = 20


def report(comparison: Comparison, rows: int = ROWS) -> str:
    """The final values of the metric, best first, a block a measurement; of many groups the first ones."""
    metric = comparison.metric
    if metric is None:
        return "these runs have no metrics yet\n"
    blocks, left = [], rows
    for standing in comparison.standings(metric, "final"):
        lines = _lines(comparison, metric, standing)
        if left > 0:
            apart = f"{standing.apart[:1].upper()}{standing.apart[1:]}.\n" if standing.apart else ""
            blocks.append(
                apart + _aligned([_HEAD, *lines[:left]]) + f"\n{verdict(comparison, metric, 'final', standing)}\n"
            )
        left -= len(lines)
    if left < 0:
        blocks.append(f"and {-left} more groups\n")
    without = [m for m in comparison.members if not m.counts or metric not in m.scores]
    if without:
        states = ", ".join(f"{member.run.layout.id} ({_why(member.run.status.state)})" for member in without[:3])
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        blocks.append(f"not counted: {states}{more}\n")
    return f"{metric}, final\n\n" + ("\n".join(blocks) if blocks else "no finished run has a value of it\n")


_HEAD = ["group", "seeds", "mean ± sd", "best", "difference [95 %]", "p (Holm)", "images/s"]


def _why(state: str) -> str:
    return "no value, or its seed comes again" if state == "done" else state


def _lines(comparison: Comparison, metric: str, standing: Standing) -> list[list[str]]:
    sign = -1 if comparison.better[metric] == "more" else 1
    places = sorted(
        range(len(standing.groups)),
        key=lambda place: sign * summary(comparison.groups[standing.groups[place]], metric, "final")[0],
    )
    lines = []
    for place in places:
        group = comparison.groups[standing.groups[place]]
        mean, deviation, count = summary(group, metric, "final")
        against = standing.ranking.against[place] if standing.ranking and len(places) > 1 else None
        speeds = [member.costs.images_per_second for member in group.members if member.counts]
        known = [speed for speed in speeds if speed is not None]
        lines.append(
            [
                _short(group.label),
                str(count),
                with_spread(mean, deviation),
                with_spread(*summary(group, metric, "best")[:2]),
                "" if against is None else difference(against),
                "" if against is None or against.p != against.p else number(against.p),
                f"{sum(known) / len(known):.0f}" if known else "",
            ]
        )
    return lines


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"
