"""Paths of a process: over time in one dimension, in the plane in two, each with what is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fmlab.figures.sheet import new_figure

PATH, EXACT, SHADE = "#1f6feb", "#24292f", "#f0a35e"

Density = Callable[[Tensor], Tensor]
"""The density at points of shape (G, d), of shape (G,)."""


def paths_in_time(
    times: Tensor,
    paths: Tensor,
    ends: Tensor,
    title: str,
    *,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    density: Density | None = None,
) -> Any:
    """One-dimensional paths over time and beside them their ends, as a figure.

    Args:
        times: Of shape (T,).
        paths: Of shape (T, n).
        ends: The last states, of any number of paths, of shape (N,).
        title: What it is.
        mean: The exact mean from each of S starts, of shape (T, S).
        std: The exact standard deviation, of shape (T,), drawn as a band of two of them; left out, the mean is the
            exact path.
        density: The exact density of the ends.
    """
    figure, (axes, side) = _figure((8.4, 4.2), ncols=2, width_ratios=[5, 1], sharey=True)
    t, legend = times.numpy(), {"simulated paths": _line(PATH)}
    axes.plot(t, paths.numpy(), color=PATH, linewidth=0.8, alpha=0.55, zorder=2)
    if mean is not None:
        for low, high in () if std is None else zip((mean.T - 2 * std).numpy(), (mean.T + 2 * std).numpy()):
            axes.fill_between(t, low, high, color=SHADE, alpha=0.35, linewidth=0, zorder=1)
        exact = _exact(axes, t, mean.numpy(), certain=std is None)
        legend |= {"exact": exact} if std is None else {"exact mean ± 2 std": (_patch(), exact)}
    axes.set_xlim(t[0], t[-1])
    axes.set(xlabel="$t$", ylabel="$X_t$")
    _legend(axes, legend, loc="upper left", ncols=2)
    side.hist(ends.numpy(), bins=40, density=True, orientation="horizontal", color=PATH, alpha=0.45)
    if density is not None:
        margin = 0.15 * float(ends.max() - ends.min())
        grid = torch.linspace(float(ends.min()) - margin, float(ends.max()) + margin, 400, dtype=ends.dtype)
        side.plot(density(grid[:, None]).numpy(), grid.numpy(), color=EXACT, linewidth=1.2)
    side.set_xticks([])
    side.set_title(f"$t = {t[-1]:g}$", fontsize=9)
    figure.suptitle(title, fontsize=9)
    return figure


def paths_in_plane(
    paths: Tensor,
    title: str,
    *,
    mean: Tensor | None = None,
    density: Density | None = None,
    density_name: str = "exact density of the ends",
) -> Any:
    """Two-dimensional paths, as a figure.

    Args:
        paths: Of shape (T, n, 2).
        title: What it is.
        mean: The exact mean from each of S starts, of shape (T, S, 2); without a density it is the exact path.
        density: A density, shown as a shade.
        density_name: Which.
    """
    figure, axes = _figure((6, 6))
    low, high = _square(paths)
    legend = {"simulated paths": _line(PATH)}
    if density is not None:
        _shade(axes, density, low, high)
        legend[density_name] = _patch()
    for path in paths.transpose(0, 1).numpy():
        axes.plot(*path.T, color=PATH, linewidth=0.7, alpha=0.4 if density is not None else 1.0, zorder=2)
    if mean is not None:
        exact = _exact(axes, mean[..., 0].numpy(), mean[..., 1].numpy(), certain=density is None)
        legend["exact" if density is None else "exact mean"] = exact
    for name, states, colour in (("start", paths[0], "white"), ("end", paths[-1], EXACT)):
        legend[name] = axes.scatter(*states.numpy().T, s=18, c=colour, edgecolors=EXACT, linewidths=0.8, zorder=4)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal")
    _legend(axes, legend, loc="upper right")
    figure.suptitle(title, fontsize=9)
    return figure


def _exact(axes: Any, x: np.ndarray, y: np.ndarray, *, certain: bool) -> Any:
    """Draws exact curves, one a column, broad and under the paths if these should be the same; one for the legend."""
    look = {"color": SHADE, "linewidth": 3, "alpha": 0.6} if certain else {"color": EXACT, "linestyle": (0, (4, 3))}
    return axes.plot(x, y, zorder=1 if certain else 3, **look)[0]


def _square(points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a square that holds the points with a margin."""
    flat = points.reshape(-1, 2)
    centre, half = (flat.amin(0) + flat.amax(0)) / 2, (flat.amax(0) - flat.amin(0)).amax() / 2
    return (centre - 1.12 * half).numpy(), (centre + 1.12 * half).numpy()


def _shade(axes: Any, density: Density, low: np.ndarray, high: np.ndarray) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    x, y = (torch.linspace(float(a), float(b), 240, dtype=torch.float64) for a, b in zip(low, high))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    values = density(grid.view(-1, 2)).view(240, 240).numpy()
    colours = LinearSegmentedColormap.from_list("shade", ["#ffffff", "#fbe3cb", SHADE])
    axes.contourf(x.numpy(), y.numpy(), values, levels=12, cmap=colours, zorder=0)


def _figure(size: tuple[float, float], ncols: int = 1, **arrangement: Any) -> tuple[Any, Any]:
    figure = new_figure(*size, dpi=140)
    axes = figure.subplots(ncols=ncols, **arrangement)
    for one in np.atleast_1d(axes):
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
    return figure, axes


def _line(colour: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linewidth=1.2)


def _patch() -> Any:
    from matplotlib.patches import Patch

    return Patch(color=SHADE, alpha=0.6, linewidth=0)


def _legend(axes: Any, entries: dict[str, Any], **place: Any) -> None:
    legend = axes.legend(entries.values(), entries.keys(), fontsize=8, **place)
    legend.get_frame().set(linewidth=0, alpha=0.85)
