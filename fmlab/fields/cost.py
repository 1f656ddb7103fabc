"""What a solve asks of a field, counted before there is a network."""

from __future__ import annotations

from bisect import bisect_right

import torch
from torch import Tensor

from fmlab.fields.base import PathField
from fmlab.paths import FlowAndScore, ProbabilityPath
from fmlab.solvers import Grid, Solver, UniformGrid


class ZeroField(PathField):
    """Velocity and score 0 everywhere on a path."""

    def evaluate(self, x: Tensor, t: Tensor) -> FlowAndScore:
        return FlowAndScore(self.path, x, t, torch.zeros_like(x), torch.zeros_like(x))


def count_evaluations(solver: Solver, steps: int, path: ProbabilityPath, grid: Grid | None = None) -> int:
    """Counts the evaluations of a field that so many steps take; at a path's ends some solvers take fewer.

    Args:
        solver: The integrator.
        steps: Solver steps.
        path: The path of the field.
        grid: Where the steps lie; UniformGrid if left out.

    Raises:
        UserError: If the solver or the grid does not fit the path.
    """
    field = ZeroField(path)
    times = (grid or UniformGrid())(steps, path)
    solver.solve(field, torch.ones(1, 1), times, noise=lambda index, like: torch.zeros_like(like))
    return field.nfe


def max_steps_within(budget: int, solver: Solver, path: ProbabilityPath) -> int:
    """The most steps of a solver that take at most `budget` evaluations; 0 if one step takes more."""
    return bisect_right(range(1, budget + 1), budget, key=lambda steps: count_evaluations(solver, steps, path))
