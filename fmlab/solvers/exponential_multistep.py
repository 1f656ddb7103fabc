"""Multistep exponential methods for the flow of a Gaussian path: DPM-Solver++(2M), (3M) and UniPC."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from fmlab.errors import UserError
from fmlab.solvers.base import Field, Past, Solver, Step
from fmlab.solvers.exponential import two_stage_step
from fmlab.solvers.log_snr import Level, evaluate, exponential_step, first_order_step, levels

# How many times as long as the step before, in log-SNR, a step may be for the polynomial through so many past
# predictions to say anything about it. On a uniform grid the last step before beta = 0 is log 2 / log 1.5 = 1.71 times
# as long.
REACH = {2: 3.0, 3: 1.5}


@dataclass(frozen=True)
class Predicted:
    """A step between finite log-SNRs: from where, and which past predictions it followed."""

    x: Tensor
    start: Level
    past: Past


@dataclass(frozen=True)
class MultistepState:
    """What is remembered from step to step.

    Attributes:
        past: The last data predictions, by half the log-SNR where they were made.
        predicted: The step before, while it is to be corrected.
    """

    past: Past
    predicted: Predicted | None


class ExponentialMultistep(Solver):
    """The expected data of the last `order` times, as a polynomial in log-SNR, give the step at one evaluation.

    The first steps have a shorter past and a lower order. So have steps that are suddenly longer than the one before,
    and those at the ends of time where the log-SNR is infinite (alpha = 0, beta = 0), which are DDIM steps.

    Attributes:
        starts_twice: Whether the first step between finite log-SNRs takes two evaluations, and has order 2.
        corrects: Whether what is predicted at the end of a step also corrects that step.
    """

    starts_twice: ClassVar[bool] = False
    corrects: ClassVar[bool] = False

    def init(self, field: Field, x: Tensor, times: Tensor) -> MultistepState:
        """Nothing has been predicted."""
        return MultistepState(Past(), None)

    def step(self, field: Field, x: Tensor, step: Step, state: MultistepState) -> tuple[Tensor, MultistepState]:
        if step.t == step.t_next:  # shorter than the state's precision resolves; the past would hold one time twice
            return x, state
        start, end = levels(field, step, self)
        value, before, past = evaluate(field, x, step.t), state.predicted, state.past
        if before is not None:
            x = exponential_step(before.x, before.start, start, before.past.add(start.half_log_snr, value.data))
        if start.finite:
            past = past.add(start.half_log_snr, value.data).newest(self.order)
        used = usable(past, start, end)
        predicted = Predicted(x, start, past.newest(used)) if used and self.corrects else None
        if used == 0:
            x = first_order_step(x, value, start, end)
        elif len(past.points) == 1 and self.starts_twice:
            x = two_stage_step(field, x, step.t, value, start, end)
        else:
            x = exponential_step(x, start, end, past.newest(used))
        return x, MultistepState(past, predicted)


def usable(past: Past, start: Level, end: Level) -> int:
    """How many past predictions, from `start` back, the step to `end` follows; 0 where a log-SNR is infinite."""
    if not (start.finite and end.finite):
        return 0
    lengths = [abs(late - early) for early, late in pairwise([*past.points, end.half_log_snr])]
    used = len(past.points)
    while used > 1 and lengths[-1] > REACH[used] * lengths[-2]:
        used -= 1
    return used


class DPMSolverPP2M(ExponentialMultistep):
    """DPM-Solver++(2M), order 2: one evaluation per step (Lu et al. 2022, algorithm 2).

    The first step, and one at an end of time where the log-SNR is infinite, is a DDIM step. It needs a Gaussian path.
    """

    order = 2.0


class DPMSolverPP3M(ExponentialMultistep):
    """DPM-Solver++(3M), order 3: one evaluation per step, and one more to start (after Lu et al. 2022).

    The quadratic through the last three predictions is integrated exactly. (diffusers 0.42 counts the second difference
    half, which makes the order 2.) The first step between finite log-SNRs is one of
    `DPMSolverPP2S`, two evaluations: after a DDIM step the order would be 2. At an end of time where the log-SNR is
    infinite it takes DDIM steps. It needs a Gaussian path.
    """

    order = 3.0
    starts_twice = True


class UniPC(ExponentialMultistep):
    """UniPC: predictor and corrector of one order, one evaluation per step (Zhao et al. 2023, with B(h) = exp(h) - 1).

    The prediction at a step's end also corrects that step, at no cost, by the polynomial that now goes through it too;
    so the order of convergence is one above the predictor's, and 3 at most, as the first step has no past. The last
    step is not corrected, and trajectories show the states before their correction. It needs a Gaussian path.

    Args:
        order: How many predictions of the past make a step: 1, 2 or 3. At 1 its predictor is DDIM, at 2
            DPM-Solver++(2M).
    """

    corrects = True

    def __init__(self, order: int = 2) -> None:
        if order not in (1, 2, 3):
            raise UserError(f"UniPC has order 1, 2 or 3, got {order}", key="order")
        self.order = order
