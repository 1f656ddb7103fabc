"""Panels: squares of the plane with densities, meshes, arrows, trails and points, and sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fmlab.figures.canvas import COLD, FAINT, GIVEN, INK, POINT, WARM, new_sheet, time_colours

CELLS = 120
"""A density is computed in so many cells a side."""
SIDE = 1.36
"""Inches a panel: five of them are as wide as a page's text."""


@dataclass(frozen=True)
class Window:
    """A square of the plane, by its centre and half its side."""

    centre: tuple[float, float]
    half: float

    @classmethod
    def around(cls, points: Tensor, margin: float = 1.08) -> Window:
        """The square around points (N, 2), except for the outermost of them, with a margin."""
        ends = torch.quantile(points.double(), torch.tensor([0.003, 0.997], dtype=torch.float64), dim=0)
        x, y = ((ends[0] + ends[1]) / 2).tolist()
        return cls((x, y), margin * max((ends[1] - ends[0]).max().item() / 2, 1e-3))

    @classmethod
    def over(cls, windows: Sequence[Window]) -> Window:
        """The smallest square that holds all of the squares."""
        low = [min(w.centre[i] - w.half for w in windows) for i in (0, 1)]
        high = [max(w.centre[i] + w.half for w in windows) for i in (0, 1)]
        half = max(high[0] - low[0], high[1] - low[1]) / 2
        return cls(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2), half)

    def cell_centres(self, side: int) -> Tensor:
        """The centres of side x side equal cells, row by row from below, float64 of shape (side^2, 2)."""
        along = ((torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1) * self.half
        x, y = torch.meshgrid(along + self.centre[0], along + self.centre[1], indexing="xy")
        return torch.stack([x, y], -1).view(-1, 2)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The left, right, bottom and top edges."""
        (x, y), half = self.centre, self.half
        return x - half, x + half, y - half, y + half


@dataclass(frozen=True)
class Trails:
    """Curves over times (T,) in [0, 1], with states (T, N, 2)."""

    times: Tensor
    states: Tensor


@dataclass(frozen=True)
class Arrows:
    """A vector field at points (N, 2), with the mass there is at each as weights (N,)."""

    points: Tensor
    vectors: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Panel:
    """What is drawn in one square, in this order; what is None is left out.

    Attributes:
        source: A density of shape (CELLS, CELLS), row by row from below, in a cold tint.
        density: Another, in a warm one.
        mesh: Curves of shape (L, P, 2).
        trails: Curves coloured by time, from white starts to dark ends.
        points: Of shape (N, 2).
        streams: A vector at every centre of side x side cells, of shape (side, side, 2), drawn as stream lines.
        given: The point z, of shape (2,).
        note: A few words in the lower left corner.
        scale: Whether the width of the window stands in the upper right corner, for panels that differ in it.
    """

    window: Window
    source: Tensor | None = None
    density: Tensor | None = None
    mesh: Tensor | None = None
    trails: Trails | None = None
    points: Tensor | None = None
    arrows: Arrows | None = None
    streams: Tensor | None = None
    given: Tensor | None = None
    note: str = ""
    scale: bool = False


def draw_panel(axes: Any, panel: Panel) -> None:
    """Draws a panel into matplotlib axes."""
    from matplotlib.collections import LineCollection

    left, right, bottom, top = panel.window.extent
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(color="#d0d7de", linewidth=0.6)
    for values, colour in ((panel.source, COLD), (panel.density, WARM)):
        if values is not None:
            _shade(axes, values, colour, panel.window)
    if panel.mesh is not None:
        axes.add_collection(LineCollection(list(panel.mesh.numpy()), zorder=2, colors=INK, linewidths=0.45, alpha=0.75))
    if panel.trails is not None:
        _trails(axes, panel.trails)
    if panel.points is not None:
        size = 1.5 if len(panel.points) > 600 else 2.6
        axes.scatter(*panel.points.T.numpy(), s=size, c=POINT, alpha=0.55, linewidths=0, zorder=3)
    if panel.arrows is not None:
        _arrows(axes, panel.arrows)
    if panel.streams is not None:
        _streams(axes, panel.streams, panel.window)
    if panel.given is not None:
        look = {"s": 34, "marker": "*", "c": GIVEN, "edgecolors": "white", "linewidths": 0.4, "zorder": 6}
        axes.scatter(*panel.given[:, None].numpy(), **look)
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.2}
    look = {"fontsize": 6.5, "transform": axes.transAxes, "bbox": paper, "zorder": 7}
    if panel.note:
        axes.text(0.03, 0.03, panel.note, **look)
    if panel.scale:
        axes.text(0.97, 0.97, f"{2 * panel.window.half:.2g} wide", ha="right", va="top", **look)


def _shade(axes: Any, values: Tensor, colour: str, window: Window) -> None:
    """Lays a tint that deepens with the density, clear where there is none, so that two can lie over each other."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    tint = to_rgb(colour)
    colours = LinearSegmentedColormap.from_list("tint", [(*tint, 0.0), (*tint, 0.55), (*tint, 1.0)])
    top = torch.quantile(values.flatten(), 0.999).item() or values.max().item() or 1.0
    look = {"origin": "lower", "extent": window.extent, "cmap": colours, "vmin": 0.0, "vmax": top, "zorder": 0}
    axes.imshow(values.numpy(), interpolation="bilinear", aspect="auto", **look)
    axes.set_aspect("equal")


def _trails(axes: Any, trails: Trails) -> None:
    from matplotlib.collections import LineCollection

    states = trails.states.double()
    segments = torch.stack([states[:-1], states[1:]], 2).flatten(0, 1)  # (T - 1) N segments of two ends
    times = ((trails.times[:-1] + trails.times[1:]) / 2).repeat_interleave(states.shape[1])
    lines = LineCollection(list(segments.numpy()), cmap=time_colours(), linewidths=0.6, alpha=0.75, zorder=2)
    lines.set_array(times.numpy())
    lines.set_clim(0, 1)
    axes.add_collection(lines)
    ends = ((states[0], "white", INK), (states[-1], INK, "white"))
    for points, face, edge in ends:
        axes.scatter(*points.T.numpy(), s=7, c=face, edgecolors=edge, linewidths=0.4, zorder=4)


def _arrows(axes: Any, arrows: Arrows) -> None:
    """Draws arrows, those of nine tenths of the mass shorter than they are apart; faint where there is no mass."""
    points, vectors, weights = arrows.points, arrows.vectors, arrows.weights
    apart = (points[1] - points[0]).norm().item() if len(points) > 1 else 1.0
    speed = vectors.norm(dim=1)
    length = _quantile(speed, weights, 0.9) or speed.max().item() or 1.0
    shown = vectors * (1.3 * length / speed[:, None]).clamp(max=1.0) * apart / length
    faint = weights < 0.01 * weights.max()
    for some, colour, layer in ((faint, FAINT, 1), (~faint, INK, 5)):
        x, y = points[some].T.numpy()
        u, v = shown[some].T.numpy()
        look = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.0062, "color": colour, "zorder": layer}
        axes.quiver(x, y, u, v, headwidth=3.6, headlength=4, headaxislength=3.6, pivot="mid", **look)


def _quantile(values: Tensor, weights: Tensor, share: float) -> float:
    """The value below which lies that share of the weight."""
    order = values.argsort()
    total = weights[order].cumsum(0)
    index = torch.searchsorted(total, share * total[-1]).clamp(max=len(values) - 1)
    return values[order][index].item()


def _streams(axes: Any, vectors: Tensor, window: Window) -> None:
    side = len(vectors)
    centres = window.cell_centres(side).view(side, side, 2)
    x, y = centres[0, :, 0].numpy(), centres[:, 0, 1].numpy()
    speed = vectors.norm(dim=-1)
    width = (0.3 + 0.9 * speed / (speed.max() or 1.0)).numpy()
    look = {"density": 0.9, "color": INK, "linewidth": width, "arrowsize": 0.55, "zorder": 5}
    axes.streamplot(x, y, vectors[..., 0].numpy(), vectors[..., 1].numpy(), **look)


def draw_sheet(
    rows: Sequence[Sequence[Panel]],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    *,
    heading: str = "",
    time_bar: bool = False,
    dpi: int = 220,
    side: float = SIDE,
) -> Any:
    """Draws panels of so many inches a side as one figure, whose bar at the right may explain the colours of time."""
    beside = 0.3 * bool(row_names) + 0.45 * time_bar
    figure, grid = new_sheet(len(rows), len(rows[0]), (side, side), column_names, heading, dpi, beside, pad=0.025)
    for axes, panel in zip(grid.flat, (panel for panels in rows for panel in panels)):
        draw_panel(axes, panel)
    for axes, name in zip(grid[:, 0], row_names):
        axes.set_ylabel(name, fontsize=8.5, labelpad=3, math_fontfamily="cm")
    if time_bar:
        _time_bar(figure, grid)
    return figure


def _time_bar(figure: Any, grid: Any) -> None:
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(cmap=time_colours()), ax=grid, aspect=40, fraction=0.02, pad=0.01)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 1], labels=["$t=0$", "$t=1$"], fontsize=7.5, math_fontfamily="cm")
    bar.ax.tick_params(length=0)
