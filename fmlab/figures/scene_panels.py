"""The theory's pictures of a scene, each as panels by row and time: paths, vector fields, flow maps, trajectories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fmlab.distributions import KernelDensity
from fmlab.fields import PathField
from fmlab.figures.motion import carried, solve_times
from fmlab.figures.panel import CELLS, Arrows, Panel, Trails, Window
from fmlab.figures.scene import Scene
from fmlab.random import Purpose
from fmlab.solvers import Grid, Solver

Rows = dict[str, list[Panel]]
"""Panels by the name of their row, one a time."""

CLOUD = 2000
"""So many draws say where a law lies."""
ARROWS, STREAMS, LINES, ALONG = 17, 30, 17, 61
"""Arrows a side, vectors a side for stream lines, lines of a mesh each way and points along each."""


def path_panels(scene: Scene, rows: Sequence[str], times: Tensor, points: int) -> Rows:
    """The conditional path p_t(x | z) and the marginal path p_t(x): densities with draws from them.

    Args:
        scene: What is drawn.
        rows: `conditional`, `marginal`.
        times: Of shape (T,).
        points: Draws shown.
    """
    windows, found = windows_over(scene, times), {}
    for row in rows:
        given = scene.given if row == "conditional" else None
        found[row] = [
            Panel(
                w,
                density=shade(scene, w, t, given),
                points=scene.draw(t, points, given),
                given=given,
                scale=differ(windows),
            )
            for w, t in zip(windows, times)
        ]
    return found


def field_panels(scene: Scene, rows: Sequence[str], times: Tensor, *, streams: bool = False) -> Rows:
    """Vector fields over the densities they carry: of the conditional path, the marginal one, a trained network's.

    Args:
        scene: What is drawn.
        rows: `conditional`, `marginal`, `learned`.
        times: Of shape (T,).
        streams: Stream lines in place of arrows.
    """
    windows, found = windows_over(scene, times), {}
    for row in rows:
        given = scene.given if row == "conditional" else None
        found[row] = [_field_panel(scene, row, w, t, given, streams, differ(windows)) for w, t in zip(windows, times)]
    return found


def _field_panel(
    scene: Scene, row: str, window: Window, t: Tensor, given: Tensor | None, streams: bool, scale: bool
) -> Panel:
    side, law = STREAMS if streams else ARROWS, scene.law(t, conditional=given is not None)
    places = window.places(side)
    vectors = velocity(scene, row, places, t)
    weights = torch.ones(len(places)) if law is None else law.log_density(places).exp()
    share = learned_error(scene, t) if row == "learned" and scene.is_gaussian else None
    return Panel(
        window,
        density=shade(scene, window, t, given),
        arrows=None if streams else Arrows(places, vectors, weights),
        streams=vectors.view(side, side, 2) if streams else None,
        given=given,
        scale=scale,
        note="" if share is None else f"error {share:.1%}",
    )


def velocity(scene: Scene, row: str, x: Tensor, t: Tensor) -> Tensor:
    """The velocity of a row's field at points (B, 2) and one time, float64.

    That of a single data point is infinite at its end, before which t is held.
    """
    if row == "conditional":
        t = scene.path.clip(t, "data") if scene.is_gaussian else t
    with torch.no_grad():
        return scene.fields()[row](len(x))(scene.typed(row, x), t).velocity.double()


def learned_error(scene: Scene, t: Tensor) -> float | None:
    """The root mean square error of the learned velocity under p_t, as a share of the exact one's; None at no speed."""
    x = scene.draw(t, CLOUD)
    learned, exact = (velocity(scene, row, x, t) for row in ("learned", "marginal"))
    size = exact.square().mean()
    return None if size == 0 else ((learned - exact).square().mean() / size).sqrt().item()


def flow_panels(
    scene: Scene, rows: Sequence[str], times: Tensor, points: int, solver: Solver, grid: Grid, steps: int
) -> Rows:
    """A square mesh at t = 0 carried along by the flow, with draws of the source, over the densities.

    Args:
        scene: What is drawn.
        rows: `conditional`, `marginal`, `learned`.
        times: Of shape (T,).
        points: Draws of the source that are carried along.
        solver: What carries them.
        grid: Where its steps lie.
        steps: How many there are.
    """
    source = scene.draw_source(CLOUD)
    mesh = square_mesh(Window.round(source, 1.0))
    start = scene.path.initial(torch.cat([mesh.view(-1, 2), source[:points]]))
    windows, found = windows_over(scene, times), {}
    all_times, places = solve_times(grid, steps, scene.path, times)
    for row in rows:
        given = scene.given if row == "conditional" else None
        states = follow(scene, row, start, solver, all_times)[places]
        found[row] = [
            Panel(
                w,
                density=shade(scene, w, t, given),
                mesh=state[: mesh.shape[0] * mesh.shape[1]].view_as(mesh),
                points=state[mesh.shape[0] * mesh.shape[1] :],
                given=given,
                scale=differ(windows),
            )
            for w, t, state in zip(windows, times, states)
        ]
    return found


def square_mesh(window: Window) -> Tensor:
    """Lines along both axes over a window, of shape (2 LINES, ALONG, 2)."""
    x, y = window.centre
    places, along = (torch.linspace(-window.half, window.half, n, dtype=torch.float64) for n in (LINES, ALONG))
    upright = torch.stack(torch.meshgrid(x + places, y + along, indexing="ij"), -1)
    level = torch.stack(torch.meshgrid(y + places, x + along, indexing="ij")[::-1], -1)
    return torch.cat([upright, level])


def trajectory_panels(
    columns: Sequence[tuple[Scene, Solver]], rows: Sequence[str], until: Tensor, n: int, grid: Grid, steps: int
) -> list[list[list[Panel]]]:
    """Trajectories over source and target, all from the same starts.

    Args:
        columns: What is drawn and how it is followed, ODE or SDE; scenes differ in their guidance alone.
        rows: `conditional`, `marginal`, `learned`.
        until: The last time that is drawn, of shape (T,).
        n: How many trajectories.
        grid: Where the steps lie.
        steps: How many there are.

    Returns:
        For each time of `until` the rows, one panel a column.
    """
    scene = columns[0][0]
    start = scene.path.initial(scene.draw_source(n))
    times, places = solve_times(grid, steps, scene.path, until)
    ends = torch.tensor([scene.path.t_start, scene.path.t_end], dtype=torch.float64)
    paths = {row: [follow(of, row, start, solver, times) for of, solver in columns] for row in rows}
    window = Window.over([Window.round(scene.draw(t, CLOUD)) for t in ends])
    found: list[list[list[Panel]]] = [[] for _ in places]
    for row in rows:
        given = scene.given if row == "conditional" else None
        source, target = (shade(scene, window, t, given) for t in ends)
        for rows_then, k in zip(found, (places + 1).tolist()):
            trails = [Trails(times[:k], path[:k]) for path in paths[row]]
            rows_then.append([Panel(window, source=source, density=target, trails=t, given=given) for t in trails])
    return found


def follow(scene: Scene, row: str, start: Tensor, solver: Solver, times: Tensor) -> Tensor:
    """The states (T, N, 2) of points that follow a row's field, float64; noise is the scene's."""
    field: PathField = scene.fields()[row](len(start))
    generator = scene.generator(Purpose.TIME)

    def noise(step: int, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)

    return carried(field, scene.typed(row, start), solver, times, noise=noise).double()


def windows_over(scene: Scene, times: Tensor) -> list[Window]:
    """A window a time: the same for all, unless the law spreads so much at some that it would be lost at others."""
    each = [Window.round(scene.draw(t, CLOUD)) for t in times]
    halves = [window.half for window in each]
    return [Window.over(each)] * len(each) if max(halves) < 4 * min(halves) else each


def differ(windows: Sequence[Window]) -> bool:
    """Whether the windows are not all the same."""
    return len(set(windows)) > 1


def shade(scene: Scene, window: Window, t: Tensor, given: Tensor | None = None) -> Tensor | None:
    """The density on the cells of a window, of shape (CELLS, CELLS)."""
    law, places = scene.law(t, conditional=given is not None), window.places(CELLS)
    if law is None:
        return None
    if isinstance(law, KernelDensity):
        return law.density_on_grid(places[:CELLS, 0], places[::CELLS, 1])
    return law.log_density(places).exp().view(CELLS, CELLS)
