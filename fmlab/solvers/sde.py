"""The Euler-Maruyama method for the SDE extension of a flow."""

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
    field must know the score: on a Gaussian path any prediction does.

    Args:
        diffusion: sigma_t: a number (the same at all times) or a function of time and path.
    """

    order = 0.5

    def __init__(self, diffusion: float | DiffusionCoefficient | None = None) -> None:
        if diffusion is None:
            diffusion = NoiseLevelDiffusion()
        self.diffusion = ConstantDiffusion(diffusion) if isinstance(diffusion, (int, float)) else diffusion

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if field.path is None:
            raise UserError("EulerMaruyama needs the score of a field on a path", key="solver", hint="use Euler")
        if t_next < t:
            raise UserError("the SDE extension is solved forwards in time only", key="times")
        evaluation = field(x, t)
        sigma = self.diffusion(t, field.path)
        step = t_next - t
        if not bool(sigma > 0):
            return x + step * evaluation.velocity
        score: Tensor = getattr(evaluation, "score")  # noqa: B009 - a velocity is all the Field protocol promises
        drift = evaluation.velocity + sigma**2 / 2 * score
        return x + step * drift + sigma * torch.sqrt(step) * noise(x)
