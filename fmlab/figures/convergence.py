"""Error of solvers against evaluations of the field, with the slopes that they reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmlab.figures.curves import COLOURS
from fmlab.figures.panel import FAINT, INK
from fmlab.figures.sheet import new_figure

MARKERS = "osD^v<>P"


@dataclass(frozen=True)
class Convergence:
    """One solver.

    Attributes:
        nfe: Evaluations of each solve.
        errors: Errors, likewise.
        order: The slope of its last two points that say something, or None.
        adaptive: Whether the points are tolerances rather than budgets.
    """

    nfe: Sequence[int]
    errors: Sequence[float]
    order: float | None = None
    adaptive: bool = False


def convergence_figure(solvers: Mapping[str, Convergence], budgets: Sequence[int], floor: float) -> Any:
    """A figure with both axes logarithmic, one line a solver; guides show what slopes look like.

    Args:
        solvers: The lines by their names.
        budgets: Where the horizontal axis has its ticks.
        floor: The error below which nothing is said; points lie on it at least.
    """
    figure = new_figure(4.6, 3.1)
    axes = figure.subplots()
    for place, (name, line) in enumerate(solvers.items()):
        errors = [max(error, floor) for error in line.errors]
        about = ", by tolerance" if line.adaptive else "" if line.order is None else f", slope {line.order:.1f}"
        look = {"marker": MARKERS[place % len(MARKERS)], "markersize": 3.2, "linewidth": 1.1, "label": name + about}
        style, colour = ("--", INK) if line.adaptive else ("-", COLOURS[place % len(COLOURS)])
        axes.plot(line.nfe, errors, linestyle=style, color=colour, **look)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    every = [*budgets, *(nfe for line in solvers.values() for nfe in line.nfe)]
    axes.set_xlim(min(every) / 1.25, max(every) * 1.25)
    axes.set_xticks(list(budgets), [str(budget) for budget in budgets])
    axes.minorticks_off()
    axes.set_xlabel("evaluations of the field (NFE)", fontsize=8)
    axes.set_ylabel("RMS distance to the\nconverged solution", fontsize=8)
    bottom, top = axes.get_ylim()
    _guides(axes, budgets, bottom, top)
    axes.set_ylim(bottom, top)
    axes.tick_params(labelsize=7.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, linewidth=0.5)
    figure.legend(loc="outside right center", fontsize=7, frameon=False, handlelength=2.2)
    return figure


def _guides(axes: Any, budgets: Sequence[int], bottom: float, top: float) -> None:
    """Faint lines of slopes 1, 2 and 4 from the upper left corner."""
    first, last = min(budgets), max(budgets)
    for order in (1, 2, 4):
        end = max(top * (first / last) ** order, bottom)
        at = first * (top / end) ** (1 / order)
        axes.plot([first, at], [top, end], color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        place, height = first * (at / first) ** 0.93, top * (end / top) ** 0.93
        axes.annotate(f"{order}", (place, height), (2, 2), textcoords="offset points", fontsize=6.5, color="#8c959f")
