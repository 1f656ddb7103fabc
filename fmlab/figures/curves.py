"""Curves of a quality over a cost, in panels side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmlab.figures.canvas import LINE_COLOURS, new_figure, pixels

PANELS_PER_ROW = 4


@dataclass(frozen=True)
class QualityCurve:
    """One line: the quality `y`, finite or left out, at each cost `x`.

    Attributes:
        spread: Half the height of a bar around each point, or None for no bars.
        dashed: Whether the line is broken, for a line that stands beside the comparison and not in it.
    """

    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] | None = None
    dashed: bool = False


def draw_curves(
    panels: Mapping[str, Mapping[str, QualityCurve]],
    title: str,
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    real: float | None = None,
    less_is_better: bool = True,
) -> np.ndarray:
    """Draws panels of curves with common axes, as uint8 of shape (height, width, 3).

    Where less is better the vertical axis is logarithmic, if all values are positive and the largest is over five times
    the smallest. A line of one name has one colour in every panel.

    Args:
        panels: The lines of each panel by their names, by the panel's heading, which may be empty.
        log_x: Whether the horizontal axis is logarithmic, by powers of two.
        real: What real data reach, as a dotted line.
    """
    columns = min(PANELS_PER_ROW, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(max(5.0, 3.4 * columns), 1.2 + 2.9 * rows, dpi=130)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    lines = [curve for curves in panels.values() for curve in curves.values()]
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colours = {name: LINE_COLOURS[index % len(LINE_COLOURS)] for index, name in enumerate(names)}
    for axes, (heading, curves) in zip(grid.flat, panels.items()):
        for name, curve in curves.items():
            _draw_curve(axes, name, curve, colours[name])
        if real is not None:
            axes.axhline(real, color="#24292f", linewidth=0.9, linestyle=":", label="real data")
        axes.set_title(heading, fontsize=9)
        axes.set_xlabel(x_label, fontsize=9)
        _scale_axes(axes, lines, real, log_x, less_is_better)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label, fontsize=9)
    handles = {text: handle for axes in grid.flat for handle, text in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)), fontsize=8)
    figure.suptitle(title, fontsize=10)
    return pixels(figure)


def _draw_curve(axes: Any, name: str, curve: QualityCurve, colour: str) -> None:
    finite = np.isfinite(np.asarray(curve.y, dtype=float))
    x, y = np.asarray(curve.x, dtype=float)[finite], np.asarray(curve.y, dtype=float)[finite]
    spread = None if curve.spread is None else np.asarray(curve.spread, dtype=float)[finite]
    style = "--" if curve.dashed else "-"
    axes.errorbar(x, y, spread, color=colour, linestyle=style, linewidth=1.4, marker="o", markersize=3.5, label=name)


def _scale_axes(
    axes: Any, curves: Sequence[QualityCurve], real: float | None, log_x: bool, less_is_better: bool
) -> None:
    values = [value for curve in curves for value in curve.y if np.isfinite(value)]
    values += [] if real is None else [real]
    if less_is_better and values and min(values) > 0 and max(values) > 5 * min(values):
        axes.set_yscale("log")
    if log_x:
        axes.set_xscale("log", base=2)
        ticks: list[float] = []
        for value in sorted({value for curve in curves for value in curve.x}):
            if not ticks or value >= 1.25 * ticks[-1]:  # closer ones would overlap
                ticks.append(value)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=8)
