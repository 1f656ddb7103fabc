"""Adams-Bashforth methods: one evaluation a step, the past steps give the order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor

from fmlab.solvers.base import Field, Solver
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

    def begin(self) -> Solver:
        return _Steps(self)

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        return self.startup.step(field, x, t, t_next, last=last, noise=noise)


class AB2(AdamsBashforth):
    """The Adams-Bashforth method of order 2: one evaluation a step, two in the first (midpoint)."""

    order = 2.0
    startup = Midpoint()


class AB3(AdamsBashforth):
    """The Adams-Bashforth method of order 3: one evaluation a step, three in each of the first two (RK3)."""

    order = 3.0
    startup = RK3()


class AB4(AdamsBashforth):
    """The Adams-Bashforth method of order 4: one evaluation a step, four in each of the first three (RK4)."""

    order = 4.0
    startup = RK4()


class _Steps(Solver):
    """The steps of one solve: remembers the last velocities and their times."""

    def __init__(self, method: AdamsBashforth) -> None:
        self.order, self.startup = method.order, method.startup
        self.times: deque[float] = deque(maxlen=int(self.order))
        self.velocities: deque[Tensor] = deque(maxlen=int(self.order))

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if t == t_next:  # a step shorter than the state's precision resolves; the past would hold one time twice
            return x
        velocity = field(x, t).velocity
        self.times.append(t.item())
        self.velocities.append(velocity)
        if len(self.times) < self.order:
            return self.startup.step_from(velocity, field, x, t, t_next)
        weights = adams_bashforth_weights(self.times, t_next.item())
        return x + weighted_sum(weights, self.velocities)
