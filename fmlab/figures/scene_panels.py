"""The panels of a scene, by row and time: paths, vector fields, flow maps, trajectories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fmlab.distributions import KernelDensity
from fmlab.errors import UserError
from fmlab.figures.panel import CELLS, Arrows, Panel, Trails, Window
from fmlab.figures.scene import Scene
from fmlab.paths import ProbabilityPath
from fmlab.random import Purpose
from fmlab.solvers import DiffusionCoefficient, Euler, Grid, NoiseLevelDiffusion, Solver

Rows = dict[str, list[Panel]]
"""Panels by the name of their row, one a time. Rows are `conditional`, `marginal` and `learned`."""

CLOUD = 2000
"""So many samples say where a law lies."""
ARROWS, STREAMS, LINES, ALONG = 17, 30, 17, 61
"""Arrows a side, vectors a side for stream lines, lines of a mesh each way and points along each."""


def path_panels(scene: Scene, rows: Sequence[str], times: Tensor, points: int) -> Rows:
    """Makes panels of the paths p_t(x | z) and p_t(x): densities with `points` samples, at times of shape (T,)."""
    windows, panels = windows_over(scene, times), {}
    for row in rows:
        given, scale = _given(scene, row), differ(windows)
        panels[row] = [
            Panel(w, None, shade(scene, w, t, given), points=scene.sample(t, points, given), given=given, scale=scale)
            for w, t in zip(windows, times)
        ]
    return panels


def field_panels(scene: Scene, rows: Sequence[str], times: Tensor, *, streams: bool = False) -> Rows:
    """Makes panels of vector fields over the densities they carry: of arrows, or of stream lines."""
    windows = windows_over(scene, times)
    return {
        row: [_field_panel(scene, row, w, t, streams, differ(windows)) for w, t in zip(windows, times)] for row in rows
    }


def _field_panel(scene: Scene, row: str, window: Window, t: Tensor, streams: bool, scale: bool) -> Panel:
    given, side = _given(scene, row), STREAMS if streams else ARROWS
    law, points = scene.law(t, conditional=given is not None), window.cell_centres(side)
    vectors = velocity(scene, row, points, t)
    weights = torch.ones(len(points)) if law is None else law.log_density(points).exp()
    error = learned_error(scene, t) if row == "learned" and scene.is_gaussian else None
    return Panel(
        window,
        density=shade(scene, window, t, given),
        arrows=None if streams else Arrows(points, vectors, weights),
        streams=vectors.view(side, side, 2) if streams else None,
        given=given,
        scale=scale,
        note="" if error is None else f"error {error:.1%}",
    )


def velocity(scene: Scene, row: str, x: Tensor, t: Tensor) -> Tensor:
    """The velocity of a row's field at points (B, 2) and one time, float64.

    That of a single data point is infinite at its end, before which t is held.
    """
    if row == "conditional":
        t = scene.path.clip(t, "data") if scene.is_gaussian else t
    with torch.no_grad():
        return scene.fields()[row](len(x))(scene.in_precision_of(row, x), t).velocity.double()


def learned_error(scene: Scene, t: Tensor) -> float | None:
    """The root mean square error of the learned velocity under p_t, as a share of the exact one's; None at no speed."""
    x = scene.sample(t, CLOUD)
    learned, exact = (velocity(scene, row, x, t) for row in ("learned", "marginal"))
    size = exact.square().mean()
    return None if size == 0 else ((learned - exact).square().mean() / size).sqrt().item()


def flow_panels(
    scene: Scene, rows: Sequence[str], times: Tensor, points: int, solver: Solver, grid: Grid, steps: int
) -> Rows:
    """Makes panels of a square mesh at t = 0 that the flow carries along, with `points` samples, over densities."""
    source = scene.sample_source(CLOUD)
    mesh = square_mesh(Window.around(source, 1.0))
    start = scene.path.initial(torch.cat([mesh.view(-1, 2), source[:points]]))
    windows, size = windows_over(scene, times), mesh.shape[0] * mesh.shape[1]
    all_times, indices = solve_times(grid, steps, scene.path, times)
    panels: Rows = {}
    for row in rows:
        given, states = _given(scene, row), follow(scene, row, start, solver, all_times)[indices]
        panels[row] = [
            Panel(
                w,
                density=shade(scene, w, t, given),
                mesh=state[:size].view_as(mesh),
                points=state[size:],
                given=given,
                scale=differ(windows),
            )
            for w, t, state in zip(windows, times, states)
        ]
    return panels


def square_mesh(window: Window) -> Tensor:
    """Makes lines along both axes over a window, of shape (2 LINES, ALONG, 2)."""
    x, y = window.centre
    across, along = (torch.linspace(-window.half, window.half, n, dtype=torch.float64) for n in (LINES, ALONG))
    upright = torch.stack(torch.meshgrid(x + across, y + along, indexing="ij"), -1)
    level = torch.stack(torch.meshgrid(y + across, x + along, indexing="ij")[::-1], -1)
    return torch.cat([upright, level])


def trajectory_panels(
    columns: Sequence[tuple[Scene, Solver]], rows: Sequence[str], until: Tensor, n: int, grid: Grid, steps: int
) -> list[list[list[Panel]]]:
    """Makes panels of trajectories over source and target, all from the same starts.

    Columns are scenes, which differ in their guidance alone, and the solvers that follow them. For each last time of
    `until` the rows are returned, one panel per column.
    """
    scene = columns[0][0]
    start = scene.path.initial(scene.sample_source(n))
    times, indices = solve_times(grid, steps, scene.path, until)
    ends = torch.tensor([scene.path.t_start, scene.path.t_end], dtype=torch.float64)
    paths = {row: [follow(column, row, start, solver, times) for column, solver in columns] for row in rows}
    window = Window.over([Window.around(scene.sample(t, CLOUD)) for t in ends])
    pictures: list[list[list[Panel]]] = [[] for _ in indices]
    for row in rows:
        given = _given(scene, row)
        source, target = (shade(scene, window, t, given) for t in ends)
        for picture, k in zip(pictures, (indices + 1).tolist()):
            trails = [Trails(times[:k], path[:k]) for path in paths[row]]
            picture.append([Panel(window, source=source, density=target, trails=t, given=given) for t in trails])
    return pictures


def windows_over(scene: Scene, times: Tensor) -> list[Window]:
    """A window a time: the same for all, unless the law spreads so much at some that it would be lost at others."""
    windows = [Window.around(scene.sample(t, CLOUD)) for t in times]
    halves = [window.half for window in windows]
    return [Window.over(windows)] * len(windows) if max(halves) < 4 * min(halves) else windows


def differ(windows: Sequence[Window]) -> bool:
    """Whether the windows are not all the same."""
    return len(set(windows)) > 1


def shade(scene: Scene, window: Window, t: Tensor, given: Tensor | None = None) -> Tensor | None:
    """The density on the cells of a window, of shape (CELLS, CELLS); None for the law of a point."""
    law, centres = scene.law(t, conditional=given is not None), window.cell_centres(CELLS)
    if law is None:
        return None
    if isinstance(law, KernelDensity):
        return law.density_on_grid(centres[:CELLS, 0], centres[::CELLS, 1])
    return law.log_density(centres).exp().view(CELLS, CELLS)


def _given(scene: Scene, row: str) -> Tensor | None:
    return scene.given if row == "conditional" else None


def solve_times(grid: Grid, steps: int, path: ProbabilityPath, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Inserts increasing times that are shown into the grid's; returns all times, and the indices of those shown."""
    own, shown = grid(steps, path).double(), shown.double().clamp(path.t_start, path.t_end)
    apart = (own[:, None] - shown).abs().amin(1) > 1e-3 / steps  # else a step would be shorter than any rounding
    times = torch.cat([own[apart], shown]).unique()
    return times, torch.searchsorted(times, shown)


@torch.no_grad()
def follow(scene: Scene, row: str, start: Tensor, solver: Solver, times: Tensor) -> Tensor:
    """Follows a row's field, with the scene's noise, and returns the states (T, N, 2) at all times, float64.

    The score grows like 1 / beta, and once the noise of a step is larger than that of the path, an SDE's method would
    throw points out; from there on the ODE, which has the same marginals, takes over.
    """
    field, x = scene.fields()[row](len(start)), scene.in_precision_of(row, start)
    generator = scene.generator(Purpose.TIME)

    def noise(step: int, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)

    cut = len(times) - 1
    if solver.stochastic and hasattr(solver, "diffusion"):
        diffusion = solver.diffusion or NoiseLevelDiffusion()
        cut = steady_until(field.path, diffusion, times, getattr(field, "bandwidth", 0.0))
    states = solver.solve(field, x, times[: cut + 1], noise=noise, trajectory=True) if cut else x[None]
    if cut + 1 < len(times):
        states = torch.cat([states, Euler().solve(field, states[-1], times[cut:], trajectory=True)[1:]])
    if not torch.isfinite(states.square()).all():
        raise UserError(f"{solver!r} diverges in {len(times) - 1} steps", key="steps", hint="take more")
    return states.double()


def steady_until(path: ProbabilityPath, diffusion: DiffusionCoefficient, times: Tensor, bandwidth: float = 0.0) -> int:
    """The index of the last time up to which the steps of an SDE add less noise than there is on the path.

    The bandwidth is the standard deviation of further noise through which the path is seen.
    """
    starts, late = times[:-1], times[:-1] > (path.t_start + path.t_end) / 2
    added = diffusion(starts, path).square() * times.diff()
    unsteady = late & (added > 0) & (added > path.noise_scale(starts).square() + bandwidth**2)
    return int(unsteady.int().argmax()) if unsteady.any() else len(times) - 1
