"""Points that follow a field of a scene: by the ODE, or by an SDE whose last stretch has no noise."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.figures.scene import Scene
from fmlab.paths import ProbabilityPath
from fmlab.random import Purpose
from fmlab.solvers import DiffusionCoefficient, Euler, Grid, NoiseLevelDiffusion, Solver


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

    Raises:
        UserError: If the solver diverges.
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
