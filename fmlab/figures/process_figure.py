"""A process simulated by a solver, held against its exact law and drawn: over time, or in the plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fmlab.distributions import Distribution, GaussianMixture
from fmlab.errors import UserError
from fmlab.figures.canvas import INK, POINT, WARM, new_figure
from fmlab.figures.processes import Langevin, Process
from fmlab.solvers import Solver

SIMULATED = 4000
"""So many paths are simulated for their mean and standard deviation, however few are drawn."""
PATH_LOOK: dict[str, Any] = {"color": POINT, "linewidth": 1.2}
SHADE_LOOK: dict[str, Any] = {"color": WARM, "alpha": 0.6, "linewidth": 0}
Density = Callable[[Tensor], Tensor]
"""The density at points of shape (G, d), of shape (G,)."""


@dataclass(frozen=True)
class ProcessLaw:
    """What is known of a process without simulation.

    Attributes:
        name: "exact", or "invariant law" where only that is known.
        end: The law of the last state from starts chosen in turn; or the invariant law.
        mean: The mean at each time from each start, of shape (T, S, d), or None.
        std: The standard deviation of the first coordinate at each time, of shape (T,), or None without noise.
    """

    name: str
    end: Distribution
    mean: Tensor | None = None
    std: Tensor | None = None


@dataclass(frozen=True)
class Simulation:
    """Paths (T, N, d) of a process at times (T,), from starts (S, d) in turn."""

    process: Process
    solver: Solver
    starts: Tensor
    times: Tensor
    paths: Tensor

    @cached_property
    def law(self) -> ProcessLaw:
        """The law that the paths should have."""
        try:
            laws = [self.process.law(self.starts, t) for t in self.times]
        except UserError:
            if not isinstance(self.process, Langevin):
                raise
            return ProcessLaw("invariant law", self.process.distribution)
        mean, last = torch.stack([law.mean for law in laws]), laws[-1]
        covariance = last.covariance if last.covariance.ndim else last.covariance * torch.eye(mean.shape[2]).to(mean)
        end = GaussianMixture(torch.ones(len(mean[0])), last.mean, covariance.expand(len(mean[0]), -1, -1))
        std = torch.stack([law.std.flatten()[0] for law in laws]) if self.process.stochastic else None
        return ProcessLaw("exact", end, mean, std)

    def describe(self) -> str:
        """Compares the last states with the law, in two lines."""
        head = f"{self.paths.shape[1]} paths of {self.process!r} by {self.solver!r} in {len(self.times) - 1} steps"
        simulated, exact = describe_moments(self.paths[-1]), describe_moments(self.law.end)
        return f"{head}\nat t = {self.times[-1].item():g}: {simulated}; {self.law.name} {exact}"


def choose_starts(start: Any, process: Process, n: int, seed: int) -> Tensor:
    """The points (S, d), d = 1 or 2, from which n paths start in turn.

    The start is a number, a point, or several points in lists; None is 0, and for an ODE draws of N(0, I).

    Raises:
        UserError: If `start` names no such points, or the process has more than two dimensions.
    """
    if process.shape not in (None, (1,), (2,)):
        raise UserError(f"one or two dimensions can be drawn, not shape {process.shape}", key="process")
    dimensions = [1, 2] if process.shape is None else list(process.shape)
    if start is None and not process.stochastic:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(max(SIMULATED, n), dimensions[0], generator=generator, dtype=torch.float64)
    try:
        points = torch.tensor(start or 0, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"cannot read {start!r}", key="start", hint="write 1, [1,0] or [[1,0],[0,1]]") from None
    if points.ndim == 0:
        points = points.expand(1, dimensions[0])
    elif points.ndim == 1:
        points = points[:, None] if 1 in dimensions else points[None]
    if points.ndim != 2 or points.shape[1] not in dimensions or not len(points):
        counts = " or ".join(map(str, dimensions))
        raise UserError(f"a point of this process has {counts} coordinates, got {start}", key="start")
    return points


def simulate(
    process: Process, solver: Solver, starts: Tensor, until: float, steps: int, n: int, seed: int
) -> Simulation:
    """Simulates n paths from t = 0 to `until`, or `SIMULATED` if those are more."""
    times = torch.linspace(0, until, steps + 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)

    def noise(step: int, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    first = starts[torch.arange(max(SIMULATED, n)) % len(starts)]
    paths = solver.solve(process, first, times, noise=noise, trajectory=True)
    if not torch.isfinite(paths.square()).all():
        raise UserError(f"{solver!r} diverges in {steps} steps", key="steps", hint="take more, or end earlier")
    return Simulation(process, solver, starts, times, paths)


def describe_moments(law: Distribution | Tensor) -> str:
    """The mean and the standard deviation of a law, or of points (N, d), as text."""
    if isinstance(law, GaussianMixture):
        mean, std = law.mean, law.covariance.diagonal().sqrt()
    else:
        points = law if isinstance(law, Tensor) else law.sample(100_000, torch.Generator().manual_seed(0))
        mean, std = points.mean(0), points.std(0)
    mean_text, std_text = (", ".join(f"{round(entry, 4) + 0:g}" for entry in part.tolist()) for part in (mean, std))
    return f"mean ({mean_text}), std ({std_text})" if len(mean) > 1 else f"mean {mean_text}, std {std_text}"


def draw_simulation(simulation: Simulation, n: int) -> Any:
    """Draws the first n paths with the law: over time in one dimension, in the plane in two."""
    law, paths, solver = simulation.law, simulation.paths[:, :n], simulation.solver
    title = f"{simulation.process!r}, {solver!r} in {len(simulation.times) - 1} steps"
    mean = None if law.mean is None else law.mean[:, :n]
    density = (lambda x: law.end.log_density(x).exp()) if simulation.process.stochastic else None
    if paths.shape[2] == 2:
        name = "exact density of the ends" if law.name == "exact" else "invariant density"
        return paths_in_plane(paths, title, mean=mean, density=density, density_name=name)
    ends, centre = simulation.paths[-1, :, 0], None if mean is None else mean[..., 0]
    return paths_in_time(simulation.times, paths[..., 0], ends, title, mean=centre, std=law.std, density=density)


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
    """Draws one-dimensional paths (T, n) over time and beside them a histogram of the ends (N,), as a figure.

    Exact are the mean (T, S) from each of S starts, the density of the ends, and the standard deviation (T,), drawn as
    a band of two of them; without it the mean is the exact path.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure, (axes, side) = _new_axes(8.4, 4.2, ncols=2, width_ratios=[5, 1], sharey=True)
    t = times.numpy()
    legend: dict[str, Any] = {"simulated paths": Line2D([], [], **PATH_LOOK)}
    axes.plot(t, paths.numpy(), color=POINT, linewidth=0.8, alpha=0.55, zorder=2)
    if mean is not None:
        for low, high in () if std is None else zip((mean.T - 2 * std).numpy(), (mean.T + 2 * std).numpy()):
            axes.fill_between(t, low, high, color=WARM, alpha=0.35, linewidth=0, zorder=1)
        exact = _draw_exact(axes, t, mean.numpy(), certain=std is None)
        legend |= {"exact": exact} if std is None else {"exact mean ± 2 std": (Patch(**SHADE_LOOK), exact)}
    axes.set_xlim(t[0], t[-1])
    axes.set(xlabel="$t$", ylabel="$X_t$")
    _draw_legend(axes, legend, loc="upper left", ncols=2)
    side.hist(ends.numpy(), bins=40, density=True, orientation="horizontal", color=POINT, alpha=0.45)
    if density is not None:
        margin = 0.15 * float(ends.max() - ends.min())
        grid = torch.linspace(float(ends.min()) - margin, float(ends.max()) + margin, 400, dtype=ends.dtype)
        side.plot(density(grid[:, None]).numpy(), grid.numpy(), color=INK, linewidth=1.2)
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
    """Draws two-dimensional paths (T, n, 2) over the shade of a density, as a figure.

    The mean (T, S, 2) is exact, from each of S starts; without a density it is the exact path.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure, axes = _new_axes(6, 6)
    flat = paths.reshape(-1, 2)
    centre, half = (flat.amin(0) + flat.amax(0)) / 2, (flat.amax(0) - flat.amin(0)).amax() / 2
    low, high = (centre - 1.12 * half).numpy(), (centre + 1.12 * half).numpy()
    legend: dict[str, Any] = {"simulated paths": Line2D([], [], **PATH_LOOK)}
    if density is not None:
        _draw_density(axes, density, low, high)
        legend[density_name] = Patch(**SHADE_LOOK)
    for path in paths.transpose(0, 1).numpy():
        axes.plot(*path.T, color=POINT, linewidth=0.7, alpha=0.4 if density is not None else 1.0, zorder=2)
    if mean is not None:
        exact = _draw_exact(axes, mean[..., 0].numpy(), mean[..., 1].numpy(), certain=density is None)
        legend["exact" if density is None else "exact mean"] = exact
    for name, states, colour in (("start", paths[0], "white"), ("end", paths[-1], INK)):
        legend[name] = axes.scatter(*states.numpy().T, s=18, c=colour, edgecolors=INK, linewidths=0.8, zorder=4)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal")
    _draw_legend(axes, legend, loc="upper right")
    figure.suptitle(title, fontsize=9)
    return figure


def _new_axes(width: float, height: float, ncols: int = 1, **arrangement: Any) -> tuple[Any, Any]:
    figure = new_figure(width, height, dpi=140)
    grid = figure.subplots(ncols=ncols, **arrangement)
    for axes in np.atleast_1d(grid):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, grid


def _draw_exact(axes: Any, x: np.ndarray, y: np.ndarray, *, certain: bool) -> Any:
    """Draws exact curves, one per column, broad and under the paths if these should be the same; one for the legend."""
    look = {"color": WARM, "linewidth": 3, "alpha": 0.6} if certain else {"color": INK, "linestyle": (0, (4, 3))}
    return axes.plot(x, y, zorder=1 if certain else 3, **look)[0]


def _draw_density(axes: Any, density: Density, low: np.ndarray, high: np.ndarray) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    x, y = (torch.linspace(float(a), float(b), 240, dtype=torch.float64) for a, b in zip(low, high))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    values = density(grid.view(-1, 2)).view(240, 240).numpy()
    colours = LinearSegmentedColormap.from_list("shade", ["#ffffff", "#fbe3cb", WARM])
    axes.contourf(x.numpy(), y.numpy(), values, levels=12, cmap=colours, zorder=0)


def _draw_legend(axes: Any, entries: dict[str, Any], **options: Any) -> None:
    legend = axes.legend(entries.values(), entries.keys(), fontsize=8, **options)
    legend.get_frame().set(linewidth=0, alpha=0.85)
