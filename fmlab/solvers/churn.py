"""EDM's stochastic sampler on any Gaussian path: Heun's method in the noise level, with noise added before steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import GaussianPath, gaussian_path
from fmlab.solvers.base import Field, NoiseSource, Solver, default_noise
from fmlab.solvers.log_snr import Level, evaluate, first_order_step, level, levels

LARGEST = math.sqrt(2) - 1  # no step adds more noise than there is (Karras et al. 2022, algorithm 2)


class EDMChurn(Solver):
    """EDM's stochastic sampler, order 2 without churn: two evaluations a step (Karras et al. 2022, algorithm 2).

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

    def solve(
        self,
        field: Field,
        x: Tensor,
        times: Tensor,
        *,
        noise: NoiseSource = default_noise,
        trajectory: bool = False,
    ) -> Tensor:
        """The state at the last of `times`, or at every one of them; see `Solver.solve`."""
        steps = _Steps(self, min(self.S_churn / max(times.numel() - 1, 1), LARGEST))
        return Solver.solve(steps, field, x, times, noise=noise, trajectory=trajectory)

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """A step by itself, as if the solve had no other."""
        return _Steps(self, min(self.S_churn, LARGEST)).step(field, x, t, t_next, last=last, noise=noise)


class _Steps(Solver):
    """The steps of one solve, of which the share of noise that each adds is known."""

    stochastic = True

    def __init__(self, method: EDMChurn, gamma: float) -> None:
        self.order, self.method, self.gamma = method.order, method, gamma

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        here, there = levels(field, t, t_next, "EDMChurn")
        if self.churns(here):
            x, t, here = self.churned(gaussian_path(field.path, "EDMChurn"), x, t, t_next, noise)
        evaluation = evaluate(field, x, t)
        predicted = first_order_step(x, evaluation, here, there)
        if last or not (here.finite and there.finite):
            return predicted
        # x / alpha moves by the noise's direction times the change of sigma; predicted, with that of the start alone.
        direction = (x - here.alpha * evaluation.data) / here.beta
        ahead = (predicted - there.alpha * evaluate(field, predicted, t_next).data) / there.beta
        change = there.beta / there.alpha - here.beta / here.alpha
        return predicted + there.alpha * change / 2 * (ahead - direction)

    def churns(self, here: Level) -> bool:
        if self.gamma == 0 or not here.finite:
            return False
        return self.method.S_min <= here.beta / here.alpha <= self.method.S_max

    def churned(
        self, path: GaussianPath, x: Tensor, t: Tensor, t_next: Tensor, noise: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Level]:
        """The point with noise added, and the earlier time to which it belongs."""
        if t_next < t:
            raise UserError("an SDE is solved forwards in time only", key="times")
        path.require_score()  # where data and noise depend on one another, fresh noise is not the path's
        here = level(path, t)
        sigma = (1 + self.gamma) * here.beta / here.alpha
        time = path.log_snr_inverse(torch.tensor(-2 * math.log(sigma), dtype=torch.float64))
        time = time.clamp(path.t_start, t.item()).to(t)
        raised = level(path, time)  # not `sigma` itself: the time is clamped and rounded
        rise = raised.alpha * math.sqrt(max((raised.beta / raised.alpha) ** 2 - (here.beta / here.alpha) ** 2, 0))
        return raised.alpha / here.alpha * x + rise * self.method.S_noise * noise(x), time, raised
