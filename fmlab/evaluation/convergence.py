"""How far a solver's end is from the converged one on a field in closed form, and what a budget of evaluations buys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from fmlab.fields import ExactField, PathField, StillField
from fmlab.fields.exact import PosteriorMean
from fmlab.paths import CondOT, GaussianPath
from fmlab.solvers import Dopri5, Grid, Solver, UniformGrid

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


@dataclass(frozen=True)
class Point:
    """One solve: how many steps, how many evaluations of the field, how far off."""

    steps: int
    nfe: int
    error: float


@dataclass
class Case:
    """A field in closed form, followed from fixed noise.

    Attributes:
        title: What it is.
        law: The data's law.
        path: The path; errors are measured at its end.
        noise: Standard normal, float64, of shape (B, *event).
        smooth: Whether the field has a limit at the end, so that an order can be seen there.
    """

    title: str
    law: PosteriorMean
    path: GaussianPath
    noise: Tensor
    smooth: bool = True

    def field(self) -> PathField:
        """The field, its evaluations not counted yet."""
        return ExactField(self.law, self.path)

    def solve(self, solver: Solver, grid: Grid, steps: int) -> tuple[Tensor, int]:
        """The end of a solve and its evaluations."""
        field = self.field()
        end = solver.solve(field, self.path.initial(self.noise), grid(steps, self.path))
        return end, field.nfe

    @cached_property
    def converged(self) -> tuple[Tensor, float]:
        """The solution at tolerance 1e-11, and the RMS distance to it of that at 1e-10."""
        ends = [self.solve(Dopri5(tol, tol, 100_000), UniformGrid(), 1)[0] for tol in (1e-11, 1e-10)]
        return ends[0], rms(ends[1] - ends[0])

    @property
    def floor(self) -> float:
        """Errors below it say nothing."""
        return 10 * self.converged[1]

    def measure(self, solver: Solver, grid: Grid, steps: int) -> Point:
        """The RMS distance to the converged solution."""
        end, nfe = self.solve(solver, grid, steps)
        return Point(steps, nfe, rms(end - self.converged[0]))

    def within(self, budgets: Sequence[int], solver: Solver, grid: Grid) -> list[Point | None]:
        """One solve a budget, with as many steps as it pays for; None where it pays for none."""
        steps = [affordable(solver, budget) for budget in budgets]
        return [self.measure(solver, grid, n) if n else None for n in steps]

    def observed_order(self, points: Sequence[Point | None]) -> float | None:
        """The slope of log(error) against log(steps) between the two finest solves above the floor."""
        clear = [point for point in points if point and point.error > self.floor]
        if not self.smooth or len(clear) < 2 or clear[-1].steps == clear[-2].steps:
            return None
        return math.log(clear[-2].error / clear[-1].error) / math.log(clear[-1].steps / clear[-2].steps)


def rms(x: Tensor) -> float:
    """The root mean square of all entries."""
    return x.square().mean().sqrt().item()


@cache
def cost(solver: Solver, steps: int) -> tuple[int, bool]:
    """The evaluations that so many steps cost, and whether they draw noise."""
    field, drawn = StillField(CondOT()), []

    def noise(step: int, like: Tensor) -> Tensor:
        drawn.append(step)
        return torch.zeros_like(like)

    solver.solve(field, torch.ones(1, 1), UniformGrid()(steps, field.path), noise=noise)
    return field.nfe, bool(drawn)


def is_stochastic(solver: Solver) -> bool:
    """Whether it draws noise."""
    return cost(solver, 4)[1]


def is_adaptive(solver: Solver) -> bool:
    """Whether it takes steps of its own, whatever the grid."""
    return cost(solver, 8)[0] == cost(solver, 16)[0]


def affordable(solver: Solver, budget: int) -> int:
    """The largest number of steps that costs at most `budget` evaluations, 0 if there is none."""
    low, high = 0, budget
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(solver, middle)[0] <= budget else (low, middle - 1)
    return low
