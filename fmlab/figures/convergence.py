"""The error of solvers on a field in closed form, against evaluations of the field: measured and drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields import ExactField, PathField, PosteriorMean, max_steps_within
from fmlab.figures.canvas import FAINT, INK, LINE_COLOURS, new_figure
from fmlab.figures.scene import Scene
from fmlab.paths import CondOT, GaussianPath, gaussian_path
from fmlab.solvers import Dopri5, Grid, Solver, UniformGrid

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
MARKERS = "osD^v<>P"


@dataclass(frozen=True)
class Solve:
    """A solve of so many steps and evaluations, with its root mean square distance per entry from a converged one."""

    steps: int
    nfe: int
    error: float


@dataclass(frozen=True)
class SolverCurve:
    """Solves of one solver, from few evaluations to many, adaptive ones by tolerance; and the order, if any shows."""

    solves: Sequence[Solve]
    order: float | None = None
    adaptive: bool = False


@dataclass
class Case:
    """The exact field of a data law, followed from fixed noise (B, *event) in float64 to the end of a path.

    It is smooth if it has a limit at the end, so that an order can be seen there.
    """

    title: str
    law: PosteriorMean
    path: GaussianPath
    noise: Tensor
    smooth: bool = True

    def field(self) -> PathField:
        """Makes the field, its evaluations not counted yet."""
        return ExactField(self.law, self.path)

    def solve(self, solver: Solver, grid: Grid, steps: int) -> tuple[Tensor, int]:
        """Solves, and returns the end and the evaluations."""
        field = self.field()
        end = solver.solve(field, self.path.initial(self.noise), grid(steps, self.path))
        return end, field.nfe

    @cached_property
    def converged(self) -> tuple[Tensor, float]:
        """The solution at tolerance 1e-11, and the RMS distance to it of that at 1e-10."""
        ends = [self.solve(Dopri5(tol, tol, 100_000), UniformGrid(), 1)[0] for tol in (1e-11, 1e-10)]
        return ends[0], rms(ends[1] - ends[0])

    @property
    def resolution(self) -> float:
        """The error below which a solve cannot be told from the converged one."""
        return 10 * self.converged[1]

    def measure(self, solver: Solver, grid: Grid, steps: int) -> Solve:
        """Measures the RMS distance to the converged solution."""
        end, nfe = self.solve(solver, grid, steps)
        return Solve(steps, nfe, rms(end - self.converged[0]))

    def measure_within(self, budgets: Sequence[int], solver: Solver, grid: Grid) -> list[Solve | None]:
        """Measures one solve a budget, with as many steps as it pays for on CondOT; None where it pays for none."""
        steps = [max_steps_within(budget, solver, CondOT()) for budget in budgets]
        return [self.measure(solver, grid, n) if n else None for n in steps]

    def measure_curve(self, budgets: Sequence[int], solver: Solver, grid: Grid) -> SolverCurve:
        """Measures a solver with fixed steps at each budget, an adaptive one at each tolerance."""
        if solver.adaptive:
            solvers: list[Any] = [type(solver)(tolerance, tolerance) for tolerance in TOLERANCES]  # type: ignore[call-arg]
            return SolverCurve([self.measure(solver, grid, 1) for solver in solvers], adaptive=True)
        solves = [solve for solve in self.measure_within(sorted(budgets), solver, grid) if solve]
        if not solves:
            raise UserError(f"no budget pays for a step of {solver!r}", key="nfe")
        return SolverCurve(solves, self.observed_order(solves))

    def observed_order(self, solves: Sequence[Solve | None]) -> float | None:
        """The slope of log(error) against log(steps) between the two finest solves above the resolution."""
        clear = [solve for solve in solves if solve and solve.error > self.resolution]
        if not self.smooth or len(clear) < 2 or clear[-1].steps == clear[-2].steps:
            return None
        return math.log(clear[-2].error / clear[-1].error) / math.log(clear[-1].steps / clear[-2].steps)


class SceneCase(Case):
    """The marginal field of a scene, whose path must be Gaussian, followed from n samples of its source."""

    def __init__(self, scene: Scene, n: int) -> None:
        path = gaussian_path(scene.path, "a converged solution")
        super().__init__(scene.describe(), scene.known_law, path, scene.sample_source(n))
        self.scene = scene

    def field(self) -> PathField:
        return self.scene.marginal(len(self.noise))


def rms(x: Tensor) -> float:
    """The root mean square of all entries, computed in float64."""
    return x.double().square().mean().sqrt().item()


def draw_convergence(curves: Mapping[str, SolverCurve], budgets: Sequence[int], resolution: float) -> Any:
    """Draws errors against evaluations, both axes logarithmic; faint lines show what slopes 1, 2 and 4 look like.

    Errors below the resolution say nothing and are drawn at it.
    """
    figure = new_figure(4.6, 3.1)
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        errors = [max(solve.error, resolution) for solve in curve.solves]
        remark = ", by tolerance" if curve.adaptive else "" if curve.order is None else f", slope {curve.order:.1f}"
        look = {"marker": MARKERS[index % len(MARKERS)], "markersize": 3.2, "linewidth": 1.1, "label": name + remark}
        style, colour = ("--", INK) if curve.adaptive else ("-", LINE_COLOURS[index % len(LINE_COLOURS)])
        axes.plot([solve.nfe for solve in curve.solves], errors, linestyle=style, color=colour, **look)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    costs = [*budgets, *(solve.nfe for curve in curves.values() for solve in curve.solves)]
    axes.set_xlim(min(costs) / 1.25, max(costs) * 1.25)
    axes.set_xticks(list(budgets), [str(budget) for budget in budgets])
    axes.minorticks_off()
    axes.set_xlabel("evaluations of the field (NFE)", fontsize=8)
    axes.set_ylabel("RMS distance to the\nconverged solution", fontsize=8)
    bottom, top = axes.get_ylim()
    _draw_slopes(axes, min(budgets), max(budgets), bottom, top)
    axes.set_ylim(bottom, top)
    axes.tick_params(labelsize=7.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, linewidth=0.5)
    figure.legend(loc="outside right center", fontsize=7, frameon=False, handlelength=2.2)
    return figure


def _draw_slopes(axes: Any, first: int, last: int, bottom: float, top: float) -> None:
    """Draws faint lines of slopes 1, 2 and 4 from the upper left corner."""
    for order in (1, 2, 4):
        end = max(top * (first / last) ** order, bottom)
        right = first * (top / end) ** (1 / order)
        axes.plot([first, right], [top, end], color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        corner = first * (right / first) ** 0.93, top * (end / top) ** 0.93
        axes.annotate(f"{order}", corner, (2, 2), textcoords="offset points", fontsize=6.5, color="#8c959f")
