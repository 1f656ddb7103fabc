"""One-step methods for the ODE dx/dt = velocity(x, t)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fmlab.solvers.base import Field, Solver


class Euler(Solver):
    """The explicit Euler method, order 1: one evaluation a step."""

    order = 1.0

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        return x + (t_next - t) * field(x, t).velocity


class Heun(Solver):
    """Heun's method, order 2: two evaluations a step, except one in the last (Karras et al. 2022, algorithm 1).

    The last step is an Euler step, so that the field is never evaluated at the end of time, where a data prediction
    says nothing about the velocity. N steps cost 2N - 1 evaluations and the order stays 2.
    """

    order = 2.0

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        velocity = field(x, t).velocity
        predicted = x + (t_next - t) * velocity
        if last:
            return predicted
        return x + (t_next - t) / 2 * (velocity + field(predicted, t_next).velocity)
