"""Euler-Maruyama and stochastic Heun for the SDE extension of a flow, and for processes with noise of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import GaussianPath
from fmlab.solvers.base import Field, FieldValue, Solver, Step
from fmlab.solvers.diffusion import ConstantDiffusion, DiffusionCoefficient, NoiseLevelDiffusion
from fmlab.solvers.log_snr import evaluate, first_order_step, levels


class DiffusionSolver(Solver):
    """dX = (v + sigma_t^2 / 2 score) dt + sigma_t dW along a path, or a process's own dX = v dt + sigma_t dW.

    The last step of a flow adds no noise, which nothing after it would remove: on a Gaussian path it is a DDIM step, at
    beta = 0 the expected data (Tweedie), and elsewhere the flow's Euler step.
    """

    stochastic = True

    def __init__(self, diffusion: float | DiffusionCoefficient | None = None) -> None:
        self.diffusion = ConstantDiffusion(diffusion) if isinstance(diffusion, (int, float)) else diffusion

    def coefficient(self, field: Field, t: Tensor) -> tuple[Tensor, bool]:
        """sigma_t, and whether it extends a flow, which takes the score to leave the marginals as they are."""
        process_diffusion: Callable[[Tensor], Tensor] | None = getattr(field, "diffusion", None)
        if process_diffusion is not None and self.diffusion is not None:
            cause = f"{type(field).__name__} has a diffusion coefficient of its own"
            raise UserError(cause, key="solver.diffusion", hint="leave it out")
        if process_diffusion is not None:
            return process_diffusion(t), False
        if field.path is None:
            cause = f"{type(self).__name__} needs the score of a field on a path"
            raise UserError(cause, key="solver", hint="use Euler")
        return (self.diffusion or NoiseLevelDiffusion())(t, field.path), True

    def drift(self, value: FieldValue, sigma: Tensor, extends_flow: bool) -> Tensor:
        """v, with the score's share where the noise is added to a flow."""
        if not extends_flow or not bool(sigma > 0):
            return value.velocity
        score: Tensor = getattr(value, "score")  # noqa: B009 - a velocity is all the Field protocol promises
        return value.velocity + sigma**2 / 2 * score

    def noiseless_step(self, field: Field, x: Tensor, step: Step) -> Tensor:
        """The last step of a flow where it would have noise."""
        if isinstance(field.path, GaussianPath):
            return first_order_step(x, evaluate(field, x, step.t), *levels(field, step, self))
        return x + step.length * field(x, step.t).velocity

    def __repr__(self) -> str:
        return f"{type(self).__name__}()" if self.diffusion is None else super().__repr__()


class EulerMaruyama(DiffusionSolver):
    """dX = (v + sigma_t^2 / 2 score) dt + sigma_t dW, strong order 1/2, one evaluation per step.

    By the SDE extension theorem (MIT 6.S184, theorem 17) it has the flow's marginals for every sigma_t >= 0. The
    field must know the score: on a Gaussian path any prediction does, elsewhere a score head. The last step adds no
    noise: on a Gaussian path it is a DDIM step, elsewhere the flow's Euler step.

    A process has a drift v and a diffusion coefficient of its own, and is simulated as dX = v dt + sigma_t dW.

    Args:
        diffusion: sigma_t along a path: a number (the same at all times) or a function of time and path;
            NoiseLevelDiffusion if left out.
    """

    order = 0.5

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        step.require_forwards()
        sigma, extends_flow = self.coefficient(field, step.t)
        if step.last and extends_flow and bool(sigma > 0):
            return self.noiseless_step(field, x, step), state
        x = x + step.length * self.drift(field(x, step.t), sigma, extends_flow)
        return x + sigma * torch.sqrt(step.length) * step.noise(x) if bool(sigma > 0) else x, state


class StochasticHeun(DiffusionSolver):
    """Heun's method for an SDE whose noise does not depend on the state: strong order 1, weak order 2 of a process.

    Of a flow the last step, without noise, is of first order: the weak order is 1 where that step matters, as on paths
    that end in the data with a diffusion that vanishes there slowly.

    Drift and sigma_t are averaged between both ends of the step, the second drift where an Euler-Maruyama step with the
    same increment leads (Kloeden and Platen 1992, section 15.1). Two evaluations per step; of a flow one in the last,
    which adds no noise: on a Gaussian path it is a DDIM step, elsewhere the flow's Euler step. A process is simulated
    with the noise it has.

    Args:
        diffusion: sigma_t along a path: a number (the same at all times) or a function of time and path;
            NoiseLevelDiffusion if left out.
    """

    order = 1.0

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        step.require_forwards()
        sigma, extends_flow = self.coefficient(field, step.t)
        if step.last and extends_flow and bool(sigma > 0):
            return self.noiseless_step(field, x, step), state
        value, length = field(x, step.t), step.length
        if step.last and extends_flow:
            return x + length * value.velocity, state
        sigma_next, _ = self.coefficient(field, step.t_next)
        increment = torch.sqrt(length) * step.noise(x) if bool(sigma + sigma_next > 0) else torch.zeros_like(x)
        drift = self.drift(value, sigma, extends_flow)
        ahead = x + length * drift + sigma * increment
        drift_next = self.drift(field(ahead, step.t_next), sigma_next, extends_flow)
        return x + length / 2 * (drift + drift_next) + (sigma + sigma_next) / 2 * increment, state
