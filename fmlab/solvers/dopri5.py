"""The adaptive Dormand-Prince method 5(4), with a step of its own for every sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import expand_time
from fmlab.solvers.base import Field, NoiseSource, Solver, default_noise
from fmlab.solvers.runge_kutta import RungeKutta, Tableau, weighted_sum

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


class Dopri5(RungeKutta):
    """The adaptive Dormand-Prince method 5(4): each sample takes the steps that its own error allows.

    A step is accepted where the root mean square of error / (atol + rtol |x|) over the sample is at most 1 (Dormand
    and Prince 1980; Hairer, Nørsett and Wanner 1993, section II.4). Every sample has its own time and step, so it does
    not depend on who else is in the batch; the field sees times of shape (B,) and is evaluated until the slowest
    sample is done, six times a step. Of the grid only the ends count, and with `trajectory` each time is landed on.
    The end of time is evaluated; where the field has no limit there, the steps before it get short.

    In float32 tolerances below about 1e-7 gain nothing.

    Args:
        rtol: Error allowed a step relative to the state, not negative.
        atol: Error allowed a step, positive.
        max_evaluations: A solve that needs more evaluations of the field is given up.
    """

    order = 5.0
    tableau = DORMAND_PRINCE

    def __init__(self, rtol: float = 1e-5, atol: float = 1e-5, max_evaluations: int = 5000) -> None:
        if rtol < 0:
            raise UserError(f"a tolerance is not negative, got {rtol}", key="rtol")
        if not atol > 0:
            raise UserError(f"the absolute tolerance is positive, got {atol}", key="atol")
        self.rtol, self.atol, self.max_evaluations = rtol, atol, max_evaluations

    def begin(self) -> Solver:
        return _Steps(self)

    def solve(
        self,
        field: Field,
        x: Tensor,
        times: Tensor,
        *,
        noise: NoiseSource = default_noise,
        trajectory: bool = False,
    ) -> Tensor:
        """The state at the last of `times`, or at every one of them; see `Solver.solve`.

        Raises:
            UserError: If the solve needs more than `max_evaluations`, or a step too short for the precision of t.
        """
        if not trajectory and times.ndim == 1:
            times = torch.cat([times[:1], times[1:][-1:]])
        return super().solve(field, x, times, noise=noise, trajectory=trajectory)

    @torch.no_grad()  # the lengths of steps are no part of the solution's derivative
    def relative_size(self, change: Tensor, *states: Tensor) -> Tensor:
        """Each sample's root mean square of change / (atol + rtol max |state|), of shape (B,)."""
        largest = torch.stack([state.abs() for state in states]).amax(0)
        relative = change / (self.atol + self.rtol * largest)
        return relative.reshape(len(change), -1).square().mean(1).sqrt()


class _Steps(Solver):
    """One solve: the velocity at every sample's state, the length it tries next, and the evaluations so far."""

    velocity: Tensor
    length: Tensor

    def __init__(self, method: Dopri5) -> None:
        self.method, self.order = method, method.order
        self.evaluations = 0

    def step(
        self, field: Field, x: Tensor, t: Tensor, t_next: Tensor, *, last: bool, noise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        now, end = t.expand(len(x)), t_next.expand(len(x))
        while bool((now != end).any()):
            if self.evaluations == 0:
                self._first(field, x, now, end)
            x, now = self._attempt(field, x, now, end)
        return x

    def _first(self, field: Field, x: Tensor, t: Tensor, end: Tensor) -> None:
        """The first velocity, and a length from how fast it changes (Hairer, Nørsett and Wanner 1993, II.4)."""
        self.velocity = field(x, t).velocity
        size, speed = self.method.relative_size(x, x), self.method.relative_size(self.velocity, x)
        short = torch.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, 1e-6)
        short = torch.minimum(short, (end - t).abs())
        trial = short.copysign(end - t)
        ahead = field(x + expand_time(trial, x) * self.velocity, t + trial).velocity
        bend = self.method.relative_size(ahead - self.velocity, x) / short
        # fmin and fmax pass over what is not a number, so that a field that is not finite is found by the steps.
        self.length = torch.fmin(100 * short, (0.01 / torch.fmax(speed, bend)) ** (1 / self.order))
        self.evaluations = 2

    def _attempt(self, field: Field, x: Tensor, now: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Tries one step of every sample that has not arrived; the states and times where it was accepted move."""
        left = end - now
        running, cut = left != 0, self.length >= left.abs()
        ahead = torch.where(cut, end, now + self.length.copysign(left))
        self._check(running, ahead, now, end)
        stages = DORMAND_PRINCE.stages(field, x, now, ahead, self.velocity)
        proposed = DORMAND_PRINCE.end(x, now, ahead, stages)
        stages.append(field(proposed, ahead).velocity)
        self.evaluations += len(DORMAND_PRINCE.nodes)
        error = self.method.relative_size(
            expand_time(ahead - now, x) * weighted_sum(ERROR_WEIGHTS, stages), x, proposed
        ).nan_to_num(torch.inf)
        accepted = running & (error <= 1)
        tried = (ahead - now).abs() * (SAFETY * error ** (-1 / self.order)).clamp(SHRINK, GROW)
        # A step cut short by the end says nothing against the longer one, which goes on after a grid time.
        tried = torch.where(accepted & cut, torch.maximum(tried, self.length), tried)
        self.length = torch.where(running, tried, self.length)
        moved = accepted.reshape(-1, *[1] * (x.ndim - 1))
        # The last velocity of a step is the first of the next.
        self.velocity = torch.where(moved, stages[-1], self.velocity)
        return torch.where(moved, proposed, x), torch.where(accepted, ahead, now)

    def _check(self, running: Tensor, ahead: Tensor, now: Tensor, end: Tensor) -> None:
        """Refuses a step that does not move its time, and one evaluation too many."""
        stuck = running & (ahead == now)
        if bool(stuck.any()):
            raise UserError(
                f"the step at t = {now[stuck][0].item():.6g} is shorter than {now.dtype} resolves",
                key="solver",
                hint="the field is not finite or not smooth there; loosen rtol and atol if it is",
            )
        if self.evaluations + len(DORMAND_PRINCE.nodes) > self.method.max_evaluations:
            slowest = now[(end - now).abs().argmax()].item()
            raise UserError(
                f"{self.evaluations} evaluations led to t = {slowest:.6g} only, on the way to {end[0].item():.6g}",
                key="solver.max_evaluations",
                hint="loosen rtol and atol, or allow more",
            )
