"""The log-likelihood of points under the flow of a field: the ODE backwards, with the divergence beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn, Protocol

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import ProbabilityPath
from fmlab.solvers.base import Field, Solver
from fmlab.solvers.divergence import Divergence, ExactDivergence


class Density(Protocol):
    """A law with a log-density, such as a `Distribution`; one with a `shape` gets its points in that shape."""

    def log_density(self, x: Tensor) -> Tensor:
        """The log-density (B,) at points (B, *shape)."""


class StandardNormal:
    """N(0, I) on events of any shape."""

    def log_density(self, x: Tensor) -> Tensor:
        """The log-density (B,) at points (B, *event)."""
        x = x.flatten(1)
        return -0.5 * (x.square().sum(1) + x.shape[1] * math.log(2 * math.pi))


def log_likelihood(
    field: Field,
    x: Tensor,
    solver: Solver,
    times: Tensor,
    *,
    divergence: Divergence | None = None,
    source: Density | None = None,
) -> Tensor:
    r"""The log-density at `x` of what a solve over `times` generates from the path's initial law.

    Along the flow d log p_t(x_t) / dt = -div v (Chen et al. 2018), so
    $\log p_1(x_1) = \log p_0(x_0) - \int_0^1 \mathrm{div}\, v(x_t, t)\, dt$. The pair (x, integral of the divergence)
    is the state of one ODE, which any of the ODE solvers follows from the last of `times` back to the first.

    The density is the sampler's: where the path leaves a trace of data at its start (VP) or the grid begins later than
    the path, p_0 is the law that solves start from, not the path's own at that time.

    Args:
        field: What to follow; its velocity is differentiable, and it is on a path.
        x: Points of shape (B, *event) at the last of `times`.
        solver: An ODE solver that follows the velocity.
        times: The times of a solve from noise to data, as a grid gives them: shape (steps + 1,), increasing.
        divergence: How the divergence is found; exact if left out. Estimated, the log-density is unbiased.
        source: The law of the source, which the path's `initial` scales; standard normal noise if left out.

    Returns:
        Natural logarithms, of shape (B,); differentiable where `x` requires a gradient.

    Raises:
        UserError: If the solver adds noise or needs more than the velocity, or the field is on no path.
    """
    if solver.stochastic:
        name = type(solver).__name__
        raise UserError(f"a likelihood follows an ODE, and {name} adds noise", key="solver", hint=VELOCITY_SOLVERS)
    if field.path is None:
        raise UserError("a likelihood needs to know the law at t = 0, and the field is on no path", key="path")
    flow = _FlowWithDivergence(field, x.shape[1:], divergence or ExactDivergence())
    state = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], 1)
    state = solver.solve(flow, state, times.flip(0))
    return initial_log_density(field.path, state[:, :-1].reshape(x.shape), source) + state[:, -1]


def initial_log_density(path: ProbabilityPath, x: Tensor, source: Density | None = None) -> Tensor:
    """The log-density (B,) at `x` (B, *event) of the law that solves along `path` start from.

    Args:
        path: The path, whose `initial` scales a draw of the source.
        x: Where.
        source: The law of the source; standard normal noise if left out.
    """
    scale = path.initial(torch.ones((), dtype=torch.float64)).item()
    law = source or StandardNormal()
    scaled = (x / scale).reshape(len(x), *getattr(law, "shape", x.shape[1:]))
    return law.log_density(scaled) - x[0].numel() * math.log(scale)


VELOCITY_SOLVERS = "use Heun, RK4, Dopri5, ..."


@dataclass(frozen=True)
class _PairVelocity:
    """The velocity of the pair; nothing else of it is known."""

    velocity: Tensor

    @property
    def score(self) -> Tensor:
        self._refuse("score")

    @property
    def noise(self) -> Tensor:
        self._refuse("noise")

    @property
    def data(self) -> Tensor:
        self._refuse("data")

    def _refuse(self, kind: str) -> NoReturn:
        raise UserError(
            f"a likelihood follows the velocity, this solver asks for the {kind}", key="solver", hint=VELOCITY_SOLVERS
        )


class _FlowWithDivergence:
    """The field of pairs (x, integral of the divergence) as vectors (B, d + 1)."""

    def __init__(self, field: Field, shape: torch.Size, divergence: Divergence) -> None:
        self.field, self.shape, self.divergence = field, shape, divergence
        self.path = field.path

    def __call__(self, x: Tensor, t: Tensor) -> _PairVelocity:
        points = x[:, :-1].reshape(len(x), *self.shape)
        velocity, divergence = self.divergence.velocity_and_divergence(self.field, points, t)
        return _PairVelocity(torch.cat([velocity.flatten(1), divergence[:, None].to(velocity)], 1))
