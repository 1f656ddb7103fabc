"""One-step exponential methods for the flow of a Gaussian path: DDIM and DPM-Solver++(2S)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fmlab.paths import gaussian_path
from fmlab.solvers.base import Field, Past, Solver, Step
from fmlab.solvers.log_snr import (
    GaussianFieldValue,
    Level,
    evaluate,
    exponential_step,
    first_order_step,
    level,
    levels,
)


class DDIM(Solver):
    """alpha' z + beta' eps with z and eps predicted at the step's start, order 1: one evaluation per step.

    It is exact while the expected data do not change, at any length of step; on the straight path it is Euler's
    method, and for x / alpha it is EDM's Euler in sigma = beta / alpha (Song et al. 2021, DDIM; Karras et al. 2022). It
    needs a Gaussian path.
    """

    order = 1.0

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        start, end = levels(field, step, self)
        return first_order_step(x, evaluate(field, x, step.t), start, end), state


class DPMSolverPP2S(Solver):
    """DPM-Solver++(2S), order 2: two evaluations per step, the second midway in log-SNR (Lu et al. 2022, algorithm 1).

    A step that begins at alpha = 0 or ends at beta = 0, where the log-SNR is infinite, is a DDIM step of one
    evaluation. It needs a Gaussian path.
    """

    order = 2.0

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        start, end = levels(field, step, self)
        return two_stage_step(field, x, step.t, evaluate(field, x, step.t), start, end), state


def two_stage_step(field: Field, x: Tensor, t: Tensor, value: GaussianFieldValue, start: Level, end: Level) -> Tensor:
    """The step of DPM-Solver++(2S) from a known evaluation at its start."""
    if not (start.finite and end.finite) or start == end:
        return first_order_step(x, value, start, end)
    path, half_way = gaussian_path(field.path, "DPMSolverPP2S"), (start.half_log_snr + end.half_log_snr) / 2
    time = path.log_snr_inverse(torch.tensor(2 * half_way, dtype=torch.float64)).to(t)
    middle = level(path, time)  # not `half_way` itself: the time is rounded
    second = evaluate(field, first_order_step(x, value, start, middle), time)
    past = Past((start.half_log_snr, middle.half_log_snr), (value.data, second.data))
    return exponential_step(x, start, end, past)
