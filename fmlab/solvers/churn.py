"""EDM's stochastic sampler on any Gaussian path: Heun's method in the noise level, with noise added before steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import GaussianPath, gaussian_path
from fmlab.solvers.base import Field, Solver, Step
from fmlab.solvers.log_snr import Level, evaluate, first_order_step, level, levels

LARGEST = math.sqrt(2) - 1  # no step adds more noise than there is (Karras et al. 2022, algorithm 2)


class EDMChurn(Solver):
    """EDM's stochastic sampler, order 2 without churn: two evaluations per step (Karras et al. 2022, algorithm 2).

    Every point is seen as x / alpha at the noise level sigma = beta / alpha, of any Gaussian path. Before a step the
    noise is raised from sigma to (1 + gamma) sigma by fresh noise, with gamma = min(S_churn / steps, sqrt(2) - 1) where
    S_min <= sigma <= S_max and 0 elsewhere; then follows a step of Heun's method in sigma, which in the last step is
    one of Euler's and leaves no noise that was added. Without churn, and there only, the order shows.

    A step that begins at alpha = 0, where sigma is infinite, or ends at beta = 0 is a DDIM step of one evaluation.
    Noise is never raised beyond the path's own start.

    Args:
        S_churn: How much noise is added over the whole solve, not negative; 0 gives EDM's deterministic Heun. 40, and
            the other defaults, are the paper's for ImageNet; its best for CIFAR-10 is 0.
        S_min: The least sigma at which noise is added.
        S_max: The largest.
        S_noise: The standard deviation of that noise; a little above 1 makes up for detail that the network loses.
    """

    order = 2.0
    stochastic = True

    def __init__(self, S_churn: float = 40.0, S_min: float = 0.05, S_max: float = 50.0, S_noise: float = 1.003) -> None:
        if S_churn < 0 or S_noise < 0:
            raise UserError(f"churn is not negative, got S_churn {S_churn} and S_noise {S_noise}", key="S_churn")
        if not 0 <= S_min <= S_max:
            raise UserError(f"EDMChurn needs 0 <= S_min <= S_max, got {S_min} and {S_max}", key="S_min")
        self.S_churn, self.S_min, self.S_max, self.S_noise = S_churn, S_min, S_max, S_noise

    def init(self, field: Field, x: Tensor, times: Tensor) -> float:
        """gamma, by how much each step raises the noise: the steps share `S_churn`."""
        return min(self.S_churn / (len(times) - 1), LARGEST)

    def step(self, field: Field, x: Tensor, step: Step, state: float) -> tuple[Tensor, float]:
        t, (start, end) = step.t, levels(field, step, self)
        if state > 0 and start.finite and self.S_min <= start.beta / start.alpha <= self.S_max:
            step.require_forwards()
            t, raised = raise_noise(gaussian_path(field.path, "EDMChurn"), t, start, state)
            added = raised.alpha * math.sqrt(max(noise_level(raised) ** 2 - noise_level(start) ** 2, 0))
            x, start = raised.alpha / start.alpha * x + added * self.S_noise * step.noise(x), raised
        value = evaluate(field, x, t)
        predicted = first_order_step(x, value, start, end)
        if step.last or not (start.finite and end.finite):
            return predicted, state
        # x / alpha moves by the noise's direction times the change of sigma; predicted, with that of the start alone.
        direction = (x - start.alpha * value.data) / start.beta
        ahead = (predicted - end.alpha * evaluate(field, predicted, step.t_next).data) / end.beta
        return predicted + end.alpha * (noise_level(end) - noise_level(start)) / 2 * (ahead - direction), state


def raise_noise(path: GaussianPath, t: Tensor, start: Level, gamma: float) -> tuple[Tensor, Level]:
    """The earlier time at which the noise level is 1 + gamma times that of `start`, at `t`, and the level there."""
    path.require_score()  # where data and noise depend on one another, fresh noise is not the path's
    sigma = (1 + gamma) * start.beta / start.alpha
    time = path.log_snr_inverse(torch.tensor(-2 * math.log(sigma), dtype=torch.float64))
    time = time.clamp(path.t_start, t.item()).to(t)
    return time, level(path, time)  # not `sigma` itself: the time is clamped and rounded


def noise_level(at: Level) -> float:
    """The noise level sigma = beta / alpha."""
    return at.beta / at.alpha
