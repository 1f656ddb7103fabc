"""Explicit Runge-Kutta methods, a method being its tableau; Euler's and Heun's, written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor

from fmlab.paths import expand_time
from fmlab.solvers.base import Field, Solver, Step


def weighted_sum(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """sum_i w_i x_i over the weights that are not 0."""
    return reduce(torch.add, [weight * tensor for weight, tensor in zip(weights, tensors) if weight])


@dataclass(frozen=True)
class Tableau:
    """The coefficients of an explicit Runge-Kutta method (Butcher 1963).

    Stage i is the velocity at time t + c_i h and state x + h sum_{j < i} a_ij k_j; the step ends at
    x + h sum_i b_i k_i. Times t and t_next may be one per sample, of shape (B,).

    Attributes:
        nodes: c, of which the first is 0.
        matrix: a, the strict lower triangle row by row; the first row is empty.
        weights: b.
    """

    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    def stages(self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, velocity: Tensor) -> list[Tensor]:
        """k_1, ..., k_s, where k_1 is the given `velocity` at (x, t): one evaluation less than stages."""
        h, stages = expand_time(t_next - t, x), [velocity]
        for node, row in zip(self.nodes[1:], self.matrix[1:]):
            # In this form a node of 1 is t_next to the last bit: t + h may lie beyond the end of time.
            time = (1 - node) * t + node * t_next
            stages.append(field(x + h * weighted_sum(row, stages), time).velocity)
        return stages

    def end(self, x: Tensor, t: Tensor, t_next: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """The state at `t_next`, given the stages."""
        return x + expand_time(t_next - t, x) * weighted_sum(self.weights, stages)


class Euler(Solver):
    """The explicit Euler method, order 1: one evaluation per step."""

    order = 1.0

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        return x + step.length * field(x, step.t).velocity, state


class Heun(Solver):
    """Heun's method, order 2: two evaluations per step, except one in the last (Karras et al. 2022, algorithm 1).

    The last step is an Euler step, so that the field is never evaluated at the end of time, where a data prediction
    says nothing about the velocity. N steps cost 2N - 1 evaluations and the order stays 2.
    """

    order = 2.0

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        velocity = field(x, step.t).velocity
        predicted = x + step.length * velocity
        if step.last:
            return predicted, state
        return x + step.length / 2 * (velocity + field(predicted, step.t_next).velocity), state


class RungeKutta(Solver):
    """A Runge-Kutta method with a fixed step: as many evaluations per step as its tableau has stages.

    Attributes:
        tableau: Its coefficients.
    """

    tableau: ClassVar[Tableau]

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        return self.step_from(field(x, step.t).velocity, field, x, step), state

    def step_from(self, velocity: Tensor, field: Field, x: Tensor, step: Step) -> Tensor:
        """The point at the end of the step where the velocity at its start is already known."""
        stages = self.tableau.stages(field, x, step.t, step.t_next, velocity)
        return self.tableau.end(x, step.t, step.t_next, stages)


class Midpoint(RungeKutta):
    """The explicit midpoint method, order 2: two evaluations per step, none at the end of time."""

    order = 2.0
    tableau = Tableau(nodes=(0, 1 / 2), matrix=((), (1 / 2,)), weights=(0, 1))


class Ralston(RungeKutta):
    """Ralston's second-order method, order 2 with the least error bound: two evaluations per step (Ralston 1962)."""

    order = 2.0
    tableau = Tableau(nodes=(0, 2 / 3), matrix=((), (2 / 3,)), weights=(1 / 4, 3 / 4))


class RK3(RungeKutta):
    """Ralston's third-order method: three evaluations per step, none at the end of time (Ralston 1962)."""

    order = 3.0
    tableau = Tableau(nodes=(0, 1 / 2, 3 / 4), matrix=((), (1 / 2,), (0, 3 / 4)), weights=(2 / 9, 1 / 3, 4 / 9))


class RK4(RungeKutta):
    """The classical Runge-Kutta method, order 4: four evaluations per step, the last of them at its end (Kutta 1901).

    The last step evaluates the field at the end of time. Where the field has no limit there, as that of a finite
    training set, the error shrinks with the step only; `RK3` and `AB4` do not look there. On a path whose velocity is
    infinite there (VP, Sqrt, LinearVP) the last step is one of `RK3`.
    """

    order = 4.0
    tableau = Tableau(
        nodes=(0, 1 / 2, 1 / 2, 1),
        matrix=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
        weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    )

    def step_from(self, velocity: Tensor, field: Field, x: Tensor, step: Step) -> Tensor:
        if step.last and step.length > 0 and getattr(field.path, "beta_dot_infinite_at_end", False):
            return RK3().step_from(velocity, field, x, step)
        return super().step_from(velocity, field, x, step)
