"""What a solver follows and what a solver is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import ProbabilityPath

NoiseSource = Callable[[int, Tensor], Tensor]
"""`noise(step, like)`: standard normal numbers shaped like `like` for the step of that index."""


class Evaluation(Protocol):
    """What a field returns: at least a velocity, shaped like x."""

    @property
    def velocity(self) -> Tensor: ...


class Field(Protocol):
    """One evaluation `field(x, t)` at x of shape (B, *event) and t of shape () or (B,)."""

    @property
    def path(self) -> ProbabilityPath | None: ...

    def __call__(self, x: Tensor, t: Tensor) -> Evaluation: ...


def default_noise(step: int, like: Tensor) -> Tensor:
    """Noise from torch's own generator, for solves that need not repeat."""
    return torch.randn_like(like)


def step_times(times: Tensor, x: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The steps of a grid: (index, t, next t), each time a scalar on the device of `x`."""
    times = times.to(device=x.device, dtype=torch.promote_types(torch.float32, x.dtype))
    for index in range(len(times) - 1):
        yield index, times[index], times[index + 1]


class Solver(ABC):
    """Follows a field from the first time of a grid to the last.

    Attributes:
        order: The order of convergence in the step size (for an SDE, the strong order).
        stochastic: Whether it draws noise; only such a solver follows fields that have noise of their own, such as
            `OrnsteinUhlenbeck`, and only where it needs no path.
    """

    order: float
    stochastic: bool = False

    @abstractmethod
    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The state at `t_next`; `last` marks the step that reaches the end of the grid."""

    def begin(self) -> Solver:
        """The solver that takes the steps of one solve: itself, or one that remembers the steps before."""
        return self

    def solve(
        self,
        field: Field,
        x: Tensor,
        times: Tensor,
        *,
        noise: NoiseSource = default_noise,
        trajectory: bool = False,
    ) -> Tensor:
        """The state at the last of `times`, or every state.

        Args:
            field: What to follow.
            x: The state at `times[0]`, of shape (B, *event).
            times: Strictly monotone times of shape (steps + 1,); decreasing times solve an ODE backwards.
            noise: Where an SDE's increments come from; an ODE draws none.
            trajectory: Return all states, of shape (steps + 1, B, *event).

        Raises:
            UserError: If there are fewer than two times, or the field is an SDE and the solver is for ODEs.
        """
        if times.ndim != 1 or len(times) < 2:
            raise UserError(f"a time grid needs at least two times, got shape {tuple(times.shape)}", key="times")
        if getattr(field, "stochastic", False) and not self.stochastic:
            cause = f"{type(self).__name__} solves ODEs, and {type(field).__name__} has noise"
            raise UserError(cause, key="solver", hint="use EulerMaruyama")
        states, steps = [x] if trajectory else [], self.begin()
        for index, t, t_next in step_times(times, x):
            x = steps.step(field, x, t, t_next, last=index == len(times) - 2, noise=partial(noise, index))
            if trajectory:
                states.append(x)
        return torch.stack(states) if trajectory else x

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
