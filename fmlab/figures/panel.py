"""A square of the plane with what is drawn in it: a density, a mesh, arrows, trails, points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

INK, POINT, WARM, COLD, GIVEN, FAINT = "#24292f", "#1f6feb", "#f0a35e", "#9fb4cc", "#b3261e", "#c4ccd4"
TIME_COLOURS = ("#1f6feb", "#6f42c1", "#b3261e")
"""From t = 0 to t = 1."""

CELLS = 120
"""A density is computed in so many cells a side."""


@dataclass(frozen=True)
class Window:
    """A square of the plane.

    Attributes:
        centre: Its centre.
        half: Half its side.
    """

    centre: tuple[float, float]
    half: float

    @classmethod
    def round(cls, points: Tensor, margin: float = 1.08) -> Window:
        """A square round points (N, 2), but for the outermost of them, with a margin."""
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

    def places(self, side: int, share: float = 1.0) -> Tensor:
        """The centres of side x side equal cells, row by row from below, float64 of shape (side^2, 2).

        Args:
            side: Cells a side.
            share: How much of the window they cover, about its centre.
        """
        along = ((torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1) * self.half * share
        x, y = torch.meshgrid(along + self.centre[0], along + self.centre[1], indexing="xy")
        return torch.stack([x, y], -1).view(-1, 2)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        (x, y), half = self.centre, self.half
        return x - half, x + half, y - half, y + half


@dataclass(frozen=True)
class Trails:
    """Curves over time.

    Attributes:
        times: Of shape (T,), in [0, 1].
        states: Of shape (T, N, 2).
    """

    times: Tensor
    states: Tensor


@dataclass(frozen=True)
class Arrows:
    """A vector field at some places.

    Attributes:
        places: Of shape (N, 2).
        vectors: Likewise.
        weights: How much mass there is at each, of shape (N,).
    """

    places: Tensor
    vectors: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Panel:
    """What is drawn in one square, in this order; what is None is left out.

    Attributes:
        window: The square.
        source: A density of shape (CELLS, CELLS), row by row from below, in a cold tint.
        density: Another, in a warm one.
        mesh: Curves of shape (L, P, 2).
        trails: Curves coloured by time, from white starts to dark ends.
        points: Of shape (N, 2).
        arrows: A vector field.
        streams: A vector at every centre of side x side cells, of shape (side, side, 2), drawn as stream lines.
        given: The point z, of shape (2,).
        note: A few words in the lower left corner.
        scale: Whether the window's own scale is told in the upper right corner, where panels differ in it.
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
    left, right, bottom, top = panel.window.extent
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(color="#d0d7de", linewidth=0.6)
    for values, colour in ((panel.source, COLD), (panel.density, WARM)):
        if values is not None:
            _shade(axes, values, colour, panel.window)
    if panel.mesh is not None:
        _lines(axes, panel.mesh, colors=INK, linewidths=0.45, alpha=0.75)
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


def time_colours() -> Any:
    """The colour map of trails, from t = 0 to t = 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("time", TIME_COLOURS)


def _shade(axes: Any, values: Tensor, colour: str, window: Window) -> None:
    """A tint that deepens with the density and is clear where there is none, so that two may lie over each other."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    tint = to_rgb(colour)
    colours = LinearSegmentedColormap.from_list("tint", [(*tint, 0.0), (*tint, 0.55), (*tint, 1.0)])
    top = torch.quantile(values.flatten(), 0.999).item() or values.max().item() or 1.0
    look = {"origin": "lower", "extent": window.extent, "cmap": colours, "vmin": 0.0, "vmax": top, "zorder": 0}
    axes.imshow(values.numpy(), interpolation="bilinear", aspect="auto", **look)
    axes.set_aspect("equal")


def _lines(axes: Any, curves: Tensor, **look: Any) -> None:
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(list(curves.numpy()), zorder=2, **look))


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
    """Arrows, nine tenths of the mass shorter than they are apart; faint where there is no mass."""
    places, vectors, weights = arrows.places, arrows.vectors, arrows.weights
    apart = (places[1] - places[0]).norm().item() if len(places) > 1 else 1.0
    speed = vectors.norm(dim=1)
    length = _quantile(speed, weights, 0.9) or speed.max().item() or 1.0
    shown = vectors * (1.3 * length / speed[:, None]).clamp(max=1.0) * apart / length
    faint = weights < 0.01 * weights.max()
    for some, colour, layer in ((faint, FAINT, 1), (~faint, INK, 5)):
        x, y = places[some].T.numpy()
        u, v = shown[some].T.numpy()
        look = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.0062, "color": colour, "zorder": layer}
        axes.quiver(x, y, u, v, headwidth=3.6, headlength=4, headaxislength=3.6, pivot="mid", **look)


def _quantile(values: Tensor, weights: Tensor, share: float) -> float:
    """The value below which lies that share of the weight."""
    order = values.argsort()
    total = weights[order].cumsum(0)
    place = torch.searchsorted(total, share * total[-1]).clamp(max=len(values) - 1)
    return values[order][place].item()


def _streams(axes: Any, vectors: Tensor, window: Window) -> None:
    side = len(vectors)
    places = window.places(side).view(side, side, 2)
    x, y = places[0, :, 0].numpy(), places[:, 0, 1].numpy()
    speed = vectors.norm(dim=-1)
    width = (0.3 + 0.9 * speed / (speed.max() or 1.0)).numpy()
    look = {"density": 0.9, "color": INK, "linewidth": width, "arrowsize": 0.55, "zorder": 5}
    axes.streamplot(x, y, vectors[..., 0].numpy(), vectors[..., 1].numpy(), **look)
