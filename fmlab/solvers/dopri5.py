"""The adaptive Dormand-Prince method 5(4), with a step of its own for every sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import expand_time
from fmlab.solvers.base import Field, Solver, Step
from fmlab.solvers.runge_kutta import Tableau, weighted_sum

DORMAND_PRINCE = Tableau(
    nodes=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1),
    matrix=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    weights=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)

ERROR_WEIGHTS = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""The fifth-order weights less the fourth-order ones; the last belongs to the velocity at the end of the step."""

# A rejected step shrinks to no less than a fifth, an accepted one grows to no more than ten times.
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0


@dataclass(frozen=True)
class Progress:
    """How far a solve is.

    Attributes:
        velocity: At every sample's point; the last of a step is the first of the next.
        length: What each sample tries next, of shape (B,).
        evaluations: So far.
    """

    velocity: Tensor
    length: Tensor
    evaluations: int


class Dopri5(Solver):
    """The adaptive Dormand-Prince method 5(4): each sample takes the steps that its own error allows.

    A step is accepted where the root mean square of error / (atol + rtol |x|) over the sample is at most 1 (Dormand
    and Prince 1980; Hairer, Nørsett and Wanner 1993, section II.4). Every sample has its own time and step, so it does
    not depend on who else is in the batch; the field sees times of shape (B,) and is evaluated until the slowest
    sample is done, six times a step. Of the grid only the ends count, and with `trajectory` each time is landed on.
    The end of time is evaluated; where the field has no limit there, the steps before it get short.

    In float32 tolerances below about 1e-7 gain nothing.

    Args:
        rtol: Error allowed per step relative to the state, not negative.
        atol: Error allowed per step, positive.
        max_evaluations: A solve that needs more evaluations of the field is given up.
    """

    order = 5.0
    adaptive = True

    def __init__(self, rtol: float = 1e-5, atol: float = 1e-5, max_evaluations: int = 5000) -> None:
        if rtol < 0:
            raise UserError(f"a tolerance is not negative, got {rtol}", key="rtol")
        if not atol > 0:
            raise UserError(f"the absolute tolerance is positive, got {atol}", key="atol")
        self.rtol, self.atol, self.max_evaluations = rtol, atol, max_evaluations

    def step(self, field: Field, x: Tensor, step: Step, state: Progress | None) -> tuple[Tensor, Progress | None]:
        """See `Solver.step`.

        Raises:
            UserError: If the solve needs more than `max_evaluations`, or a step too short for the precision of t.
        """
        now, end = step.t.expand(len(x)), step.t_next.expand(len(x))
        while bool((now != end).any()):
            state = state or self._begin(field, x, now, end)
            x, now, state = self._attempt(field, x, now, end, state)
        return x, state

    @torch.no_grad()  # the lengths of steps are no part of the solution's derivative
    def relative_size(self, change: Tensor, *states: Tensor) -> Tensor:
        """Each sample's root mean square of change / (atol + rtol max |state|), of shape (B,)."""
        largest = torch.stack([state.abs() for state in states]).amax(0)
        relative = change / (self.atol + self.rtol * largest)
        return relative.reshape(len(change), -1).square().mean(1).sqrt()

    def _begin(self, field: Field, x: Tensor, t: Tensor, end: Tensor) -> Progress:
        """The first velocity, and a length from how fast it changes (Hairer, Nørsett and Wanner 1993, II.4)."""
        velocity = field(x, t).velocity
        size, speed = self.relative_size(x, x), self.relative_size(velocity, x)
        short = torch.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, 1e-6)
        short = torch.minimum(short, (end - t).abs())
        trial = short.copysign(end - t)
        ahead = field(x + expand_time(trial, x) * velocity, t + trial).velocity
        bend = self.relative_size(ahead - velocity, x) / short
        # fmin and fmax pass over what is not a number, so that a field that is not finite is found by the steps.
        length = torch.fmin(100 * short, (0.01 / torch.fmax(speed, bend)) ** (1 / self.order))
        return Progress(velocity, length, evaluations=2)

    def _attempt(
        self, field: Field, x: Tensor, now: Tensor, end: Tensor, state: Progress
    ) -> tuple[Tensor, Tensor, Progress]:
        """Tries one step of every sample that has not arrived; the points and times where it was accepted move."""
        left = end - now
        running, cut = left != 0, state.length >= left.abs()
        ahead = torch.where(cut, end, now + state.length.copysign(left))
        self._check(running, ahead, now, end, state.evaluations)
        stages = DORMAND_PRINCE.stages(field, x, now, ahead, state.velocity)
        proposed = DORMAND_PRINCE.end(x, now, ahead, stages)
        stages.append(field(proposed, ahead).velocity)
        error = self.relative_size(
            expand_time(ahead - now, x) * weighted_sum(ERROR_WEIGHTS, stages), x, proposed
        ).nan_to_num(torch.inf)
        accepted = running & (error <= 1)
        tried = (ahead - now).abs() * (SAFETY * error ** (-1 / self.order)).clamp(SHRINK, GROW)
        # A step cut short by the end says nothing against the longer one, which goes on after a grid time.
        tried = torch.where(accepted & cut, torch.maximum(tried, state.length), tried)
        moved = accepted.reshape(-1, *[1] * (x.ndim - 1))
        progress = Progress(
            velocity=torch.where(moved, stages[-1], state.velocity),
            length=torch.where(running, tried, state.length),
            evaluations=state.evaluations + len(DORMAND_PRINCE.nodes),
        )
        return torch.where(moved, proposed, x), torch.where(accepted, ahead, now), progress

    def _check(self, running: Tensor, ahead: Tensor, now: Tensor, end: Tensor, evaluations: int) -> None:
        """Refuses a step that does not move its time, and one evaluation too many."""
        stuck = running & (ahead == now)
        if bool(stuck.any()):
            raise UserError(
                f"the step at t = {now[stuck][0].item():.6g} is shorter than {now.dtype} resolves",
                key="solver",
                hint="the field is not finite or not smooth there; loosen rtol and atol if it is",
            )
        if evaluations + len(DORMAND_PRINCE.nodes) > self.max_evaluations:
            slowest = now[(end - now).abs().argmax()].item()
            raise UserError(
                f"{evaluations} evaluations led to t = {slowest:.6g} only, on the way to {end[0].item():.6g}",
                key="solver.max_evaluations",
                hint="loosen rtol and atol, or allow more",
            )
