"""Adams-Bashforth methods: one evaluation per step, the past steps give the order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from fmlab.solvers.base import Field, Past, Solver, Step
from fmlab.solvers.runge_kutta import RK3, RK4, Midpoint, RungeKutta, weighted_sum


def adams_bashforth_weights(past: Sequence[float], t_next: float) -> list[float]:
    """What each past velocity counts: the integral over [past[-1], t_next] of its Lagrange polynomial.

    Args:
        past: At most four distinct times, in the order of the steps; their spacing is free.
        t_next: Where the step ends.
    """
    centre, half = (past[-1] + t_next) / 2, (t_next - past[-1]) / 2
    # Gauss-Legendre quadrature on two points is exact up to degree 3, that of the polynomial on four times.
    points = (centre - half / math.sqrt(3), centre + half / math.sqrt(3))
    return [
        half * sum(math.prod((point - other) / (own - other) for other in past if other != own) for point in points)
        for own in past
    ]


class AdamsBashforth(Solver):
    """x + the integral over the step of the polynomial through the last `order` velocities, on any grid.

    The first `order - 1` steps are taken by a Runge-Kutta method of the same order. After them a step costs one
    evaluation, always at its beginning: the field is never evaluated at the end of time. (Hairer, Nørsett and Wanner
    1993, section III.5.)

    Attributes:
        startup: The Runge-Kutta method of the first steps.
    """

    startup: ClassVar[RungeKutta]

    def init(self, field: Field, x: Tensor, times: Tensor) -> Past:
        """No velocity has been found."""
        return Past()

    def step(self, field: Field, x: Tensor, step: Step, state: Past) -> tuple[Tensor, Past]:
        if step.t == step.t_next:  # shorter than the state's precision resolves; the past would hold one time twice
            return x, state
        velocity = field(x, step.t).velocity
        past = state.add(step.t.item(), velocity).newest(self.order)
        if len(past.points) < self.order:
            return self.startup.step_from(velocity, field, x, step), past
        return x + weighted_sum(adams_bashforth_weights(past.points, step.t_next.item()), past.values), past


class AB2(AdamsBashforth):
    """The Adams-Bashforth method of order 2: one evaluation per step, two in the first (midpoint)."""

    order = 2.0
    startup = Midpoint()


class AB3(AdamsBashforth):
    """The Adams-Bashforth method of order 3: one evaluation per step, three in each of the first two (RK3)."""

    order = 3.0
    startup = RK3()


class AB4(AdamsBashforth):
    """The Adams-Bashforth method of order 4: one evaluation per step, four in each of the first three (RK4)."""

    order = 4.0
    startup = RK4()
