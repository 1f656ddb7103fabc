"""Multistep exponential methods for the flow of a Gaussian path: DPM-Solver++(2M), (3M) and UniPC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from fmlab.errors import UserError
from fmlab.solvers.base import Field, Solver
from fmlab.solvers.exponential import two_stage_step
from fmlab.solvers.log_snr import GaussianEvaluation, Level, evaluate, exponential_step, first_order_step, levels

# How many times as long as the step before, in log-SNR, a step may be for the polynomial through so many past
# predictions to say anything about it. On a uniform grid the last step before beta = 0 is log 2 / log 1.5 = 1.71 times
# as long.
REACH = {2: 3.0, 3: 1.5}


class ExponentialMultistep(Solver):
    """The expected data of the last `order` times, as a polynomial in log-SNR, give the step at one evaluation.

    The first steps have a shorter past and a lower order. So have steps that are suddenly longer than the one before,
    and those at the ends of time where the log-SNR is infinite (alpha = 0, beta = 0), which are DDIM steps.

    Attributes:
        starts_twice: Whether the first step between finite log-SNRs takes two evaluations, and has order 2.
    """

    starts_twice: ClassVar[bool] = False

    def begin(self) -> Solver:
        return _Steps(self)

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        return self.begin().step(field, x, t, t_next, last=last, noise=noise)


class DPMSolverPP2M(ExponentialMultistep):
    """DPM-Solver++(2M), order 2: one evaluation a step (Lu et al. 2022, algorithm 2).

    The first step, and one at an end of time where the log-SNR is infinite, is a DDIM step. It needs a Gaussian path.
    """

    order = 2.0


class DPMSolverPP3M(ExponentialMultistep):
    """DPM-Solver++(3M), order 3: one evaluation a step, and one more to start (after Lu et al. 2022).

    The quadratic through the last three predictions is integrated exactly. (diffusers 0.42 counts the second difference
    half, which makes the order 2.) The first step between finite log-SNRs is one of
    `DPMSolverPP2S`, two evaluations: after a DDIM step the order would be 2. At an end of time where the log-SNR is
    infinite it takes DDIM steps. It needs a Gaussian path.
    """

    order = 3.0
    starts_twice = True


class UniPC(ExponentialMultistep):
    """UniPC: predictor and corrector of one order, one evaluation a step (Zhao et al. 2023, with B(h) = exp(h) - 1).

    The prediction at a step's end also corrects that step, at no cost, by the polynomial that now goes through it too;
    so the order of convergence is one above the predictor's, and 3 at most, as the first step has no past. The last
    step is not corrected, and trajectories show the states before their correction. It needs a Gaussian path.

    Args:
        order: How many predictions of the past make a step: 1, 2 or 3. At 1 its predictor is DDIM, at 2
            DPM-Solver++(2M).
    """

    def __init__(self, order: int = 2) -> None:
        if order not in (1, 2, 3):
            raise UserError(f"UniPC has order 1, 2 or 3, got {order}", key="order")
        self.order = order

    def begin(self) -> Solver:
        return _CorrectedSteps(self)


class _Steps(Solver):
    """The steps of one solve: remembers the last predictions and where they were made."""

    def __init__(self, method: ExponentialMultistep) -> None:
        self.order, self.name, self.starts_twice = method.order, type(method).__name__, method.starts_twice
        self.points: list[float] = []
        self.predictions: list[Tensor] = []

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if t == t_next:  # a step shorter than the state's precision resolves; the past would hold one time twice
            return x
        here, there = levels(field, t, t_next, self.name)
        evaluation = evaluate(field, x, t)
        x = self.corrected(x, here, evaluation)
        if here.finite:
            self.points = [*self.points, here.half_log_snr][-int(self.order) :]
            self.predictions = [*self.predictions, evaluation.data][-int(self.order) :]
        return self.advance(field, x, t, evaluation, here, there)

    def corrected(self, x: Tensor, here: Level, evaluation: GaussianEvaluation) -> Tensor:
        """The state at `here`, given what is predicted there."""
        return x

    def advance(
        self, field: Field, x: Tensor, t: Tensor, evaluation: GaussianEvaluation, here: Level, there: Level
    ) -> Tensor:
        """The state at `there`."""
        used = self.usable(here, there)
        if used == 0:
            return first_order_step(x, evaluation, here, there)
        if len(self.points) == 1 and self.starts_twice:
            return two_stage_step(field, x, t, evaluation, here, there)
        return exponential_step(x, here, there, self.points[-used:], self.predictions[-used:])

    def usable(self, here: Level, there: Level) -> int:
        """How many past predictions, from `here` back, the step to `there` follows; 0 where a log-SNR is infinite."""
        if not (here.finite and there.finite):
            return 0
        lengths = [abs(late - early) for early, late in pairwise([*self.points, there.half_log_snr])]
        used = len(self.points)
        while used > 1 and lengths[-1] > REACH[used] * lengths[-2]:
            used -= 1
        return used


@dataclass(frozen=True)
class _Taken:
    """A step between finite log-SNRs: from where, and what it followed."""

    x: Tensor
    here: Level
    points: list[float]
    predictions: list[Tensor]


class _CorrectedSteps(_Steps):
    """Steps of which each is corrected by what is predicted at its end."""

    taken: _Taken | None = None

    def corrected(self, x: Tensor, here: Level, evaluation: GaussianEvaluation) -> Tensor:
        if self.taken is None:
            return x
        points = [*self.taken.points, here.half_log_snr]
        return exponential_step(self.taken.x, self.taken.here, here, points, [*self.taken.predictions, evaluation.data])

    def advance(
        self, field: Field, x: Tensor, t: Tensor, evaluation: GaussianEvaluation, here: Level, there: Level
    ) -> Tensor:
        used = self.usable(here, there)
        self.taken = _Taken(x, here, self.points[-used:], self.predictions[-used:]) if used else None
        return super().advance(field, x, t, evaluation, here, there)
