"""`fmlab draw solvers`: the error of every solver on the exact field, by evaluations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from fmlab.commands import draw_words as read
from fmlab.commands.draw_subject import plane_scene
from fmlab.commands.evaluate_options import numbers, words
from fmlab.config.parts import Parts, part
from fmlab.errors import UserError
from fmlab.evaluation.convergence import TOLERANCES, Case, Point, is_adaptive, is_stochastic
from fmlab.fields import PathField
from fmlab.figures import Convergence, Scene, convergence_figure
from fmlab.paths import gaussian_path
from fmlab.solvers import Grid, Solver


@dataclass
class SceneCase(Case):
    """The marginal field of a scene.

    Attributes:
        scene: The scene.
    """

    scene: Scene | None = None

    def field(self) -> PathField:
        assert self.scene is not None
        return self.scene.marginal(len(self.noise))


def draw_solvers(options: argparse.Namespace, parts: Parts) -> int:
    """Writes errors against evaluations, and prints them."""
    read.check(options)
    budgets = numbers(options.nfe, "nfe", int, "--nfe 8,16,32")
    if any(budget < 1 for budget in budgets):
        raise UserError(f"a budget is at least one evaluation, got {options.nfe}", key="nfe")
    grid = part("grid", options.grid, Grid, parts)
    solvers = {word: _solver(word) for word in words(options.solver, "solver")}
    scene = plane_scene(options, parts, "solvers")
    path = gaussian_path(scene.path, "a converged solution")
    case = SceneCase("", scene.known_law, path, scene.draw_source(options.n), scene=scene)
    print(read.describe(scene))
    lines = {name: _measured(case, solver, grid, budgets) for name, solver in solvers.items()}
    for name, line in lines.items():
        slope = "" if line.order is None else f", slope {line.order:.2f}"
        told = ", ".join(f"{error:.1e} ({nfe})" for nfe, error in zip(line.nfe, line.errors))
        print(f"{name:12} {told}{slope}")
    read.write(options, lambda: convergence_figure(lines, sorted(budgets), case.floor), lambda: ())
    return 0


def _solver(word: str) -> Solver:
    solver: Solver = part("solver", word, Solver, {"solver": {}})
    if is_stochastic(solver):
        hint = "fmlab evaluate measures such solvers by their samples"
        raise UserError(f"{word} draws noise: its end has no converged counterpart", key="solver", hint=hint)
    return solver


def _measured(case: Case, solver: Solver, grid: Grid, budgets: Sequence[int]) -> Convergence:
    """A fixed-step solver with each budget, an adaptive one at each tolerance."""
    adaptive = is_adaptive(solver)
    found: list[Point | None]
    if adaptive:
        found = [case.measure(type(solver)(tolerance, tolerance), grid, 1) for tolerance in TOLERANCES]  # type: ignore[call-arg]
    else:
        found = case.within(sorted(budgets), solver, grid)
    points = [point for point in found if point]
    if not points:
        raise UserError(f"no budget pays for a step of {solver!r}", key="nfe")
    order = None if adaptive else case.observed_order(points)
    return Convergence([p.nfe for p in points], [p.error for p in points], order, adaptive)
