"""Euler-Maruyama and stochastic Heun for the SDE extension of a flow, and for processes with noise of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import GaussianPath
from fmlab.solvers.base import Evaluation, Field, Solver
from fmlab.solvers.diffusion import ConstantDiffusion, DiffusionCoefficient, NoiseLevelDiffusion
from fmlab.solvers.log_snr import evaluate, first_order_step, levels


class DiffusionSolver(Solver):
    """dX = (v + sigma_t^2 / 2 score) dt + sigma_t dW, or a process's own dX = v dt + sigma_t dW.

    By the SDE extension theorem (MIT 6.S184, theorem 17) the first has the flow's marginals for every sigma_t >= 0. The
    field must know the score: on a Gaussian path any prediction does, elsewhere a score head.

    The last step of a flow adds no noise, which nothing after it would remove: on a Gaussian path it is a DDIM step, at
    beta = 0 the expected data (Tweedie), and elsewhere the flow's Euler step.
    """

    stochastic = True

    def __init__(self, diffusion: float | DiffusionCoefficient | None = None) -> None:
        self.diffusion = ConstantDiffusion(diffusion) if isinstance(diffusion, (int, float)) else diffusion

    def coefficient(self, field: Field, t: Tensor) -> tuple[Tensor, bool]:
        """sigma_t, and whether it extends a flow, which takes the score to leave the marginals as they are."""
        own: Callable[[Tensor], Tensor] | None = getattr(field, "diffusion", None)
        if own is not None and self.diffusion is not None:
            cause = f"{type(field).__name__} has a diffusion coefficient of its own"
            raise UserError(cause, key="solver.diffusion", hint="leave it out")
        if own is not None:
            return own(t), False
        if field.path is None:
            cause = f"{type(self).__name__} needs the score of a field on a path"
            raise UserError(cause, key="solver", hint="use Euler")
        return (self.diffusion or NoiseLevelDiffusion())(t, field.path), True

    def drift(self, evaluation: Evaluation, sigma: Tensor, extends_flow: bool) -> Tensor:
        """v, with the score's share where the noise is added to a flow."""
        if not extends_flow or not bool(sigma > 0):
            return evaluation.velocity
        score: Tensor = getattr(evaluation, "score")  # noqa: B009 - a velocity is all the Field protocol promises
        return evaluation.velocity + sigma**2 / 2 * score

    def noiseless_step(self, field: Field, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """The last step of a flow where it would have noise."""
        if isinstance(field.path, GaussianPath):
            return first_order_step(x, evaluate(field, x, t), *levels(field, t, t_next, type(self).__name__))
        return x + (t_next - t) * field(x, t).velocity

    def __repr__(self) -> str:
        return f"{type(self).__name__}()" if self.diffusion is None else super().__repr__()


class EulerMaruyama(DiffusionSolver):
    """dX = (v + sigma_t^2 / 2 score) dt + sigma_t dW, strong order 1/2, one evaluation a step.

    By the SDE extension theorem (MIT 6.S184, theorem 17) it has the flow's marginals for every sigma_t >= 0. The
    field must know the score: on a Gaussian path any prediction does, elsewhere a score head. The last step adds no
    noise: on a Gaussian path it is a DDIM step, elsewhere the flow's Euler step.

    A process has a drift v and a diffusion coefficient of its own, and is simulated as dX = v dt + sigma_t dW.

    Args:
        diffusion: sigma_t along a path: a number (the same at all times) or a function of time and path;
            NoiseLevelDiffusion if left out.
    """

    order = 0.5

    def __init__(self, diffusion: float | DiffusionCoefficient | None = None) -> None:
        super().__init__(diffusion)

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        _forwards(t, t_next)
        sigma, extends_flow = self.coefficient(field, t)
        if last and extends_flow and bool(sigma > 0):
            return self.noiseless_step(field, x, t, t_next)
        step = t_next - t
        moved = x + step * self.drift(field(x, t), sigma, extends_flow)
        return moved + sigma * torch.sqrt(step) * noise(x) if bool(sigma > 0) else moved


class StochasticHeun(DiffusionSolver):
    """Heun's method for an SDE whose noise does not depend on the state: weak order 2, strong order 1.

    Drift and sigma_t are averaged between both ends of the step, the second drift where an Euler-Maruyama step with the
    same increment leads (Kloeden and Platen 1992, section 15.1). Two evaluations a step; of a flow one in the last,
    which adds no noise: on a Gaussian path it is a DDIM step, elsewhere the flow's Euler step. A process is simulated
    with the noise it has.

    Args:
        diffusion: sigma_t along a path: a number (the same at all times) or a function of time and path;
            NoiseLevelDiffusion if left out.
    """

    order = 1.0

    def __init__(self, diffusion: float | DiffusionCoefficient | None = None) -> None:
        super().__init__(diffusion)

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        _forwards(t, t_next)
        sigma, extends_flow = self.coefficient(field, t)
        if last and extends_flow and bool(sigma > 0):
            return self.noiseless_step(field, x, t, t_next)
        evaluation, step = field(x, t), t_next - t
        if last and extends_flow:
            return x + step * evaluation.velocity
        sigma_next, _ = self.coefficient(field, t_next)
        increment = torch.sqrt(step) * noise(x) if bool(sigma + sigma_next > 0) else torch.zeros_like(x)
        drift = self.drift(evaluation, sigma, extends_flow)
        ahead = x + step * drift + sigma * increment
        drift_next = self.drift(field(ahead, t_next), sigma_next, extends_flow)
        return x + step / 2 * (drift + drift_next) + (sigma + sigma_next) / 2 * increment


def _forwards(t: Tensor, t_next: Tensor) -> None:
    if t_next < t:
        raise UserError("an SDE is solved forwards in time only", key="times")
