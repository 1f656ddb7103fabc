"""The exponential method for the reversed diffusion of a Gaussian path: DPM-Solver++ (2M SDE)."""

from __future__ import annotations

import math

from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import gaussian_path
from fmlab.solvers.base import Field, Past, Solver, Step
from fmlab.solvers.exponential_multistep import REACH
from fmlab.solvers.log_snr import Level, evaluate, levels


class DPMSolverPP2MSDE(Solver):
    """DPM-Solver++ (2M SDE): the reversed diffusion, its linear part and its noise exact (Lu et al. 2022).

    With h the change of lambda = log(alpha / beta) and keep = exp(-eta h), a step is alpha' z + beta' (keep eps +
    sqrt(1 - keep^2) xi): z is the straight line through the last two predictions, half-way, eps = (x - alpha z) / beta
    and xi fresh noise. It solves the SDE of `EulerMaruyama` with `MemorylessDiffusion`, of which eta scales sigma_t^2.
    One evaluation per step.

    The last step adds no noise and is that of `DPMSolverPP2M`. A step from alpha = 0, where the log-SNR is infinite,
    keeps nothing of x unless eta is 0; there and where a step is suddenly much longer than the one before, z is the
    last prediction. It needs a Gaussian path.

    Args:
        eta: How much noise, not negative; 1 is the reversed diffusion, 0 gives `DPMSolverPP2M`.
    """

    order = 1.0
    stochastic = True

    def __init__(self, eta: float = 1.0) -> None:
        if eta < 0:
            raise UserError(f"a share of noise is not negative, got {eta}", key="eta")
        self.eta = eta

    def init(self, field: Field, x: Tensor, times: Tensor) -> Past:
        """Nothing has been predicted."""
        return Past()

    def step(self, field: Field, x: Tensor, step: Step, state: Past) -> tuple[Tensor, Past]:
        if step.t == step.t_next:
            return x, state
        start, end = levels(field, step, self)
        eta = 0.0 if step.last else self.eta
        if eta > 0:
            step.require_forwards()
            gaussian_path(field.path, "DPMSolverPP2MSDE").require_score()
        value = evaluate(field, x, step.t)
        data = half_way(state, value.data, start, end)
        noise = (x - start.alpha * data) / start.beta if start.beta > 0 else value.noise
        share = math.exp(-eta * (end.half_log_snr - start.half_log_snr)) if eta > 0 else 1.0
        fresh = math.sqrt(1 - share**2) * step.noise(x) if share < 1 and end.beta > 0 else 0.0
        past = Past().add(start.half_log_snr, value.data) if start.finite else Past()
        return end.alpha * data + end.beta * (share * noise + fresh), past


def half_way(past: Past, data: Tensor, start: Level, end: Level) -> Tensor:
    """The straight line through the last prediction and `data`, half-way from `start` to `end` in log-SNR."""
    if not past.points or not end.finite:
        return data
    h, before = end.half_log_snr - start.half_log_snr, start.half_log_snr - past.points[0]
    return data + h / before / 2 * (data - past.values[0]) if abs(h) <= REACH[2] * abs(before) else data
