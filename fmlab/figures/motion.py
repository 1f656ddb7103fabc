"""Points carried along a field: by the ODE, and by SDEs whose last stretch has no noise."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields import PathField
from fmlab.paths import ProbabilityPath
from fmlab.solvers import DiffusionCoefficient, Euler, Grid, NoiseLevelDiffusion, NoiseSource, Solver


def solve_times(grid: Grid, steps: int, path: ProbabilityPath, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The grid's times with the wanted ones among them, and where these stand.

    Args:
        grid: The grid.
        steps: Its steps.
        path: The path, whose first and last times bound all.
        wanted: Increasing times of shape (T,).
    """
    own, wanted = grid(steps, path).double(), wanted.double().clamp(path.t_start, path.t_end)
    apart = (own[:, None] - wanted).abs().amin(1) > 1e-3 / steps  # else a step would be shorter than any rounding
    times = torch.cat([own[apart], wanted]).unique()
    return times, torch.searchsorted(times, wanted)


@torch.no_grad()
def carried(field: PathField, x: Tensor, solver: Solver, times: Tensor, *, noise: NoiseSource) -> Tensor:
    """The states at all times, of shape (T, N, 2); an SDE's are followed as far as its steps are short enough.

    The score grows like 1 / beta, and from where a step's noise is larger than that of the path the method would
    throw points out; there the ODE, which has the same marginals, takes over.

    Raises:
        UserError: If the solver diverges.
    """
    diffusion = _diffusion(solver)
    if diffusion is None:
        states = solver.solve(field, x, times, noise=noise, trajectory=True)
    else:
        cut = steady_until(field.path, diffusion, times, getattr(field, "bandwidth", 0.0))
        states = solver.solve(field, x, times[: cut + 1], noise=noise, trajectory=True) if cut else x[None]
        if cut + 1 < len(times):
            rest = Euler().solve(field, states[-1], times[cut:], trajectory=True)
            states = torch.cat([states, rest[1:]])
    if not torch.isfinite(states.square()).all():
        raise UserError(f"{solver!r} diverges in {len(times) - 1} steps", key="steps", hint="take more")
    return states


def steady_until(path: ProbabilityPath, diffusion: DiffusionCoefficient, times: Tensor, bandwidth: float = 0.0) -> int:
    """The index of the last time up to which the steps of an SDE add less noise than there is on the path.

    Args:
        path: The path.
        diffusion: sigma_t.
        times: The times of the steps.
        bandwidth: The standard deviation of further noise through which the path is seen.
    """
    starts, late = times[:-1], times[:-1] > (path.t_start + path.t_end) / 2
    added = diffusion(starts, path).square() * times.diff()
    unsteady = late & (added > 0) & (added > path.noise_scale(starts).square() + bandwidth**2)
    return int(unsteady.int().argmax()) if unsteady.any() else len(times) - 1


def _diffusion(solver: Solver) -> DiffusionCoefficient | None:
    """The coefficient that a solver adds noise with, None for an ODE's."""
    if not solver.stochastic or not hasattr(solver, "diffusion"):
        return None
    own: DiffusionCoefficient | None = solver.diffusion
    return own or NoiseLevelDiffusion()
