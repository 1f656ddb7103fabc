"""The exponential method for the reversed diffusion of a Gaussian path: DPM-Solver++ (2M SDE)."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import gaussian_path
from fmlab.solvers.base import Field, Solver
from fmlab.solvers.exponential_multistep import REACH
from fmlab.solvers.log_snr import Level, evaluate, levels


class DPMSolverPP2MSDE(Solver):
    """DPM-Solver++ (2M SDE): the reversed diffusion, its linear part and its noise exact (Lu et al. 2022).

    With h the change of lambda = log(alpha / beta) and keep = exp(-eta h), a step is alpha' z + beta' (keep eps +
    sqrt(1 - keep^2) xi): z is the straight line through the last two predictions, half-way, eps = (x - alpha z) / beta
    and xi fresh noise. It solves the SDE of `EulerMaruyama` with `MemorylessDiffusion`, of which eta scales sigma_t^2.
    One evaluation a step.

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

    def begin(self) -> Solver:
        return _Steps(self.eta)

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        return self.begin().step(field, x, t, t_next, last=last, noise=noise)


class _Steps(Solver):
    """The steps of one solve: remembers the last prediction and where it was made."""

    stochastic = True

    def __init__(self, eta: float) -> None:
        self.order, self.eta = DPMSolverPP2MSDE.order, eta
        self.past: tuple[float, Tensor] | None = None

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if t == t_next:
            return x
        here, there = levels(field, t, t_next, "DPMSolverPP2MSDE")
        eta = 0.0 if last else self.eta
        if eta > 0:
            if t_next < t:
                raise UserError("an SDE is solved forwards in time only", key="times")
            gaussian_path(field.path, "DPMSolverPP2MSDE").require_score()
        evaluation = evaluate(field, x, t)
        data = self.half_way(evaluation.data, here, there)
        found = (x - here.alpha * data) / here.beta if here.beta > 0 else evaluation.noise
        kept = math.exp(-eta * (there.half_log_snr - here.half_log_snr)) if eta > 0 else 1.0
        fresh = math.sqrt(1 - kept**2) * noise(x) if kept < 1 and there.beta > 0 else 0.0
        return there.alpha * data + there.beta * (kept * found + fresh)

    def half_way(self, data: Tensor, here: Level, there: Level) -> Tensor:
        """The straight line through the last two predictions, half-way from `here` to `there` in log-SNR."""
        past, self.past = self.past, (here.half_log_snr, data) if here.finite else None
        if past is None or not there.finite:
            return data
        h, before = there.half_log_snr - here.half_log_snr, here.half_log_snr - past[0]
        return data + h / before / 2 * (data - past[1]) if abs(h) <= REACH[2] * abs(before) else data
