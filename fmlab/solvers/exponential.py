"""One-step exponential methods for the flow of a Gaussian path: DDIM and DPM-Solver++(2S)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.paths import gaussian_path
from fmlab.solvers.base import Field, Solver
from fmlab.solvers.log_snr import (
    GaussianEvaluation,
    Level,
    evaluate,
    exponential_step,
    first_order_step,
    level,
    levels,
)


class DDIM(Solver):
    """alpha' z + beta' eps with z and eps predicted at the step's start, order 1: one evaluation a step.

    It is exact while the expected data do not change, at any length of step; on the straight path it is Euler's
    method, and for x / alpha it is EDM's Euler in sigma = beta / alpha (Song et al. 2021, DDIM; Karras et al. 2022). It
    needs a Gaussian path.
    """

    order = 1.0

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        here, there = levels(field, t, t_next, "DDIM")
        return first_order_step(x, evaluate(field, x, t), here, there)


class DPMSolverPP2S(Solver):
    """DPM-Solver++(2S), order 2: two evaluations a step, the second half-way in log-SNR (Lu et al. 2022, algorithm 1).

    A step that begins at alpha = 0 or ends at beta = 0, where the log-SNR is infinite, is a DDIM step of one
    evaluation. It needs a Gaussian path.
    """

    order = 2.0

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        here, there = levels(field, t, t_next, "DPMSolverPP2S")
        return two_stage_step(field, x, t, evaluate(field, x, t), here, there)


def two_stage_step(
    field: Field, x: Tensor, t: Tensor, evaluation: GaussianEvaluation, here: Level, there: Level
) -> Tensor:
    """The step of DPM-Solver++(2S) from a known evaluation at its start."""
    if not (here.finite and there.finite) or here == there:
        return first_order_step(x, evaluation, here, there)
    path, middle = gaussian_path(field.path, "DPMSolverPP2S"), (here.half_log_snr + there.half_log_snr) / 2
    time = path.log_snr_inverse(torch.tensor(2 * middle, dtype=torch.float64)).to(t)
    between = level(path, time)  # not `middle` itself: the time is rounded
    second = evaluate(field, first_order_step(x, evaluation, here, between), time)
    points = [here.half_log_snr, between.half_log_snr]
    return exponential_step(x, here, there, points, [evaluation.data, second.data])
