"""The Euler-Maruyama method for the SDE extension of a flow, and for processes with noise of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.solvers.base import Field, Solver
from fmlab.solvers.diffusion import ConstantDiffusion, DiffusionCoefficient, NoiseLevelDiffusion


class EulerMaruyama(Solver):
    """dX = (v + sigma_t^2 / 2 score) dt + sigma_t dW, strong order 1/2, one evaluation a step.

    By the SDE extension theorem (MIT 6.S184, theorem 17) it has the flow's marginals for every sigma_t >= 0. The
    field must know the score: on a Gaussian path any prediction does, elsewhere a score head.

    A process has a drift v and a diffusion coefficient of its own, and is simulated as dX = v dt + sigma_t dW.

    Args:
        diffusion: sigma_t along a path: a number (the same at all times) or a function of time and path;
            NoiseLevelDiffusion if left out.
    """

    order = 0.5
    stochastic = True

    def __init__(self, diffusion: float | DiffusionCoefficient | None = None) -> None:
        self.diffusion = ConstantDiffusion(diffusion) if isinstance(diffusion, (int, float)) else diffusion

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if t_next < t:
            raise UserError("an SDE is solved forwards in time only", key="times")
        sigma, extends_flow = self._coefficient(field, t)
        evaluation, step = field(x, t), t_next - t
        drift = evaluation.velocity
        if not bool(sigma > 0):
            return x + step * drift
        if extends_flow:
            score: Tensor = getattr(evaluation, "score")  # noqa: B009 - a velocity is all the Field protocol promises
            drift = drift + sigma**2 / 2 * score
        return x + step * drift + sigma * torch.sqrt(step) * noise(x)

    def _coefficient(self, field: Field, t: Tensor) -> tuple[Tensor, bool]:
        """sigma_t, and whether it extends a flow, which takes the score to leave the marginals as they are."""
        own: Callable[[Tensor], Tensor] | None = getattr(field, "diffusion", None)
        if own is not None and self.diffusion is not None:
            cause = f"{type(field).__name__} has a diffusion coefficient of its own"
            raise UserError(cause, key="solver.diffusion", hint="leave it out")
        if own is not None:
            return own(t), False
        if field.path is None:
            raise UserError("EulerMaruyama needs the score of a field on a path", key="solver", hint="use Euler")
        return (self.diffusion or NoiseLevelDiffusion())(t, field.path), True

    def __repr__(self) -> str:
        return "EulerMaruyama()" if self.diffusion is None else super().__repr__()
