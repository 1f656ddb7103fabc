"""Curves of a quality over a cost, in panels side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

COLOURS = ("#1f6feb", "#d1570d", "#2f8f4e", "#8250df", "#b3261e", "#57606a", "#0f7b8a", "#a0760b")


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes:
        x: Where it was measured.
        y: What was found; what is not finite is left out.
        spread: Half the height of a bar round each point, or nothing.
        dashed: Whether the line is broken, for what stands beside and not in the comparison.
    """

    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] | None = None
    dashed: bool = False


def curves(
    panels: Mapping[str, Mapping[str, Curve]],
    title: str,
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    real: float | None = None,
    less_is_better: bool = True,
    at_once: int = 4,
) -> np.ndarray:
    """Panels of curves with axes in common, uint8 of shape (height, width, 3).

    Where less is better the vertical axis is logarithmic, if all values are positive and the largest is over five times
    the smallest.
    A line of one name has one colour in every panel.

    Args:
        panels: The lines of each panel by their names, by the panel's heading, which may be empty.
        title: What it is.
        x_label: Of the horizontal axis.
        y_label: Of the vertical axis.
        log_x: Whether the horizontal axis is logarithmic, by powers of two.
        real: What real data reach, as a dotted line.
        less_is_better: Of the values.
        at_once: Panels a row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(at_once, len(panels))
    rows = -(-len(panels) // columns)
    size = (max(5.0, 3.4 * columns), 1.2 + 2.9 * rows)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    look = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    for axes, (heading, lines) in zip(grid.flat, panels.items()):
        for name, curve in lines.items():
            _draw(axes, name, curve, look[name])
        if real is not None:
            axes.axhline(real, color="#24292f", linewidth=0.9, linestyle=":", label="real data")
        axes.set_title(heading, fontsize=9)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid.flat[: len(panels)]:
        _scale(axes, panels, real, log_x, less_is_better)
        axes.set_xlabel(x_label, fontsize=9)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label, fontsize=9)
    handles = {text: handle for axes in grid.flat for handle, text in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)), fontsize=8)
    figure.suptitle(title, fontsize=10)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw(axes: Any, name: str, curve: Curve, colour: str) -> None:
    finite = np.isfinite(np.asarray(curve.y, dtype=float))
    x, y = np.asarray(curve.x, dtype=float)[finite], np.asarray(curve.y, dtype=float)[finite]
    spread = None if curve.spread is None else np.asarray(curve.spread, dtype=float)[finite]
    style = "--" if curve.dashed else "-"
    axes.errorbar(x, y, spread, color=colour, linestyle=style, linewidth=1.4, marker="o", markersize=3.5, label=name)


def _scale(
    axes: Any, panels: Mapping[str, Mapping[str, Curve]], real: float | None, log_x: bool, less_is_better: bool
) -> None:
    drawn = [value for lines in panels.values() for curve in lines.values() for value in curve.y if np.isfinite(value)]
    values = drawn + ([] if real is None else [real])
    if less_is_better and values and min(values) > 0 and max(values) > 5 * min(values):
        axes.set_yscale("log")
    if log_x:
        axes.set_xscale("log", base=2)
        ticks: list[float] = []
        for value in sorted({value for lines in panels.values() for curve in lines.values() for value in curve.x}):
            if not ticks or value >= 1.25 * ticks[-1]:  # closer ones would overlap
                ticks.append(value)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=8)
