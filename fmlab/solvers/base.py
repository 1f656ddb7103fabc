"""What a solver follows and what a solver is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import ProbabilityPath
from fmlab.representation import ShownByAttributes
from fmlab.solvers.noise import NoiseFn, default_noise


class FieldValue(Protocol):
    """What a field returns: at least a velocity, shaped like x."""

    @property
    def velocity(self) -> Tensor: ...


class Field(Protocol):
    """One evaluation `field(x, t)` at x of shape (B, *event) and t of shape () or (B,)."""

    @property
    def path(self) -> ProbabilityPath | None: ...

    def __call__(self, x: Tensor, t: Tensor) -> FieldValue: ...


@dataclass(frozen=True)
class Step:
    """One step of a solve.

    Attributes:
        t: Where it begins, a scalar on the device of the state, in float32 or better.
        t_next: Where it ends, likewise.
        last: Whether it reaches the end of the grid.
        noise: Gives the step's standard normal numbers, shaped like its argument and the same at every call.
    """

    t: Tensor
    t_next: Tensor
    last: bool
    noise: Callable[[Tensor], Tensor]

    @property
    def length(self) -> Tensor:
        """t_next - t, negative where an ODE is solved backwards."""
        return self.t_next - self.t

    def require_forwards(self) -> None:
        """Refuses a step of an SDE that goes back in time.

        Raises:
            UserError: If it does.
        """
        if self.t_next < self.t:
            raise UserError("an SDE is solved forwards in time only", key="times")


@dataclass(frozen=True)
class Past:
    """What a multistep method remembers: the last values, and the points in time where they were found.

    Attributes:
        points: Times, or another measure of them, in the order of the steps.
        values: A tensor for each.
    """

    points: tuple[float, ...] = ()
    values: tuple[Tensor, ...] = ()

    def add(self, point: float, value: Tensor) -> Past:
        """The past with one more value."""
        return Past((*self.points, point), (*self.values, value))

    def newest(self, count: float) -> Past:
        """The last of them, at most `count`."""
        return Past(self.points[-int(count) :], self.values[-int(count) :])


class Solver(ShownByAttributes, ABC):
    """Follows a field from the first time of a grid to the last.

    A solver is one class with `step`. What it remembers from one step to the next is its state: `init` makes it, each
    step gets it and returns the next. The solver itself never changes, so that one object serves many solves. A solver
    of one's own is as short as this:

        class Midpoint(Solver):
            order = 2.0

            def step(self, field, x, step, state):
                half = x + step.length / 2 * field(x, step.t).velocity
                return x + step.length * field(half, (step.t + step.t_next) / 2).velocity, state

    Attributes:
        order: The order of convergence in the step size (for an SDE, the strong order).
        stochastic: Whether it draws noise; only such a solver follows fields that have noise of their own, such as
            `OrnsteinUhlenbeck`, and only where it needs no path.
        adaptive: Whether it chooses its steps itself, so that it needs no time of the grid but the ends.
    """

    order: float
    stochastic: bool = False
    adaptive: bool = False

    def init(self, field: Field, x: Tensor, times: Tensor) -> Any:
        """The state before the first step of a solve over `times`; None for a method that remembers nothing."""
        return None

    @abstractmethod
    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        """The point at the end of the step, and the state for the next one.

        Args:
            field: What to follow.
            x: The point at `step.t`, of shape (B, *event).
            step: Where the step begins and ends.
            state: What `init` or the step before gave; never changed in place.
        """

    def solve(
        self,
        field: Field,
        x: Tensor,
        times: Tensor,
        *,
        noise: NoiseFn = default_noise,
        trajectory: bool = False,
    ) -> Tensor:
        """The point at the last of `times`, or at every one of them.

        Args:
            field: What to follow.
            x: The point at `times[0]`, of shape (B, *event).
            times: Strictly monotone times of shape (steps + 1,); decreasing times solve an ODE backwards.
            noise: Where an SDE's increments come from; an ODE draws none.
            trajectory: Return all points, of shape (steps + 1, B, *event).

        Raises:
            UserError: If there are fewer than two times, or the field is an SDE and the solver is for ODEs.
        """
        if times.ndim != 1 or len(times) < 2:
            raise UserError(f"a time grid needs at least two times, got shape {tuple(times.shape)}", key="times")
        if getattr(field, "stochastic", False) and not self.stochastic:
            cause = f"{type(self).__name__} solves ODEs, and {type(field).__name__} has noise"
            raise UserError(cause, key="solver", hint="use EulerMaruyama")
        if self.adaptive and not trajectory:
            times = times[[0, -1]]
        points, state = [x] if trajectory else [], self.init(field, x, times)
        for step in steps_between(times, x, noise):
            x, state = self.step(field, x, step, state)
            if trajectory:
                points.append(x)
        return torch.stack(points) if trajectory else x


def steps_between(times: Tensor, x: Tensor, noise: NoiseFn = default_noise) -> Iterator[Step]:
    """The steps of a grid, for a state such as `x`."""
    times = times.to(device=x.device, dtype=torch.promote_types(torch.float32, x.dtype))
    for index in range(len(times) - 1):
        yield Step(times[index], times[index + 1], index == len(times) - 2, partial(noise, index))
