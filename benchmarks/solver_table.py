"""Every solver and every grid on fields known in closed form: `python benchmarks/solver_table.py`

Error against evaluations of the field (NFE), so solver error alone: no network is involved. It writes the tables into
docs/results.md and the plots docs/solvers_mixture.png, docs/solvers_digits.png and docs/solvers_sde.png.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from results_page import write_section
from solver_measure import (
    TOLERANCES,
    Case,
    LawPoint,
    Results,
    law_errors,
    max_steps_within,
    typical_law_errors,
)
from solver_report import plot, plot_laws, section
from torch import Tensor

from fmlab import distributions
from fmlab.config.catalog import of_kind
from fmlab.data import Digits, FashionMNIST
from fmlab.data.base import ImageData
from fmlab.data.pixels import to_float
from fmlab.errors import UserError
from fmlab.fields import ExactField
from fmlab.paths import CondOT
from fmlab.solvers import DPMSolverPP2M, Euler, EulerMaruyama, Grid, Heun, SeededNoise, Solver, UniformGrid

BEFORE_MEMORISATION = 0.75


@dataclass
class Parts:
    """Every solver and grid that the package exports, sorted by how it can be compared.

    Attributes:
        fixed: ODE solvers that step on the grid.
        adaptive: ODE solvers that choose their steps.
        stochastic: Solvers that draw noise.
        grids: Time grids.
        left_out: What could not be made or used, and why.
    """

    fixed: list[Solver] = field(default_factory=list)
    adaptive: list[Solver] = field(default_factory=list)
    stochastic: list[Solver] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def exported(cls) -> Parts:
        """All of them, as they are without arguments."""
        parts, room = cls(), importlib.import_module("fmlab.solvers")
        for entry in [*of_kind("solvers"), *of_kind("grids")]:
            try:
                part = getattr(room, entry.name)()
                parts._kind(part).append(part)
            except TypeError:
                parts.left_out[entry.name] = "has no defaults"
            except UserError as error:
                parts.left_out[entry.name] = error.message
        return parts

    def _kind(self, part: Solver | Grid) -> list:
        if isinstance(part, Grid):
            return self.grids
        return self.stochastic if part.stochastic else self.adaptive if part.adaptive else self.fixed


def measure(case: Case, parts: Parts, budgets: Sequence[int]) -> Results:
    """All solvers and grids on one case."""
    return Results(
        case,
        {repr(solver): solver.order for solver in parts.fixed},
        {repr(solver): case.measure_within(budgets, solver, UniformGrid()) for solver in parts.fixed},
        {
            type(solver).__name__: [case.measure(type(solver)(tol, tol), UniformGrid(), 1) for tol in TOLERANCES]
            for solver in parts.adaptive
        },
        {
            (repr(grid), repr(solver)): case.measure_within(budgets, solver, grid)
            for grid in parts.grids
            for solver in (Euler(), Heun(), DPMSolverPP2M())
        },
    )


def measure_laws(parts: Parts, budgets: Sequence[int], n: int) -> dict[str, list[LawPoint]]:
    """Mean and covariance of n samples of the mixture by the SDE solvers, and by two ODE solvers beside them."""
    law, path = distributions.three_gaussians(), CondOT()
    start = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    results = {f"{n:,} exact draws": [typical_law_errors(law, n)] * len(budgets)}
    for solver in [*with_every_diffusion(parts.stochastic), Euler(), Heun()]:
        points = []
        for budget in budgets:
            exact, generator = ExactField(law, path), torch.Generator().manual_seed(1)
            end = solver.solve(
                exact,
                path.initial(start),
                UniformGrid()(max_steps_within(budget, solver, path), path),
                noise=lambda _, like, g=generator: torch.randn(like.shape, generator=g),
            )
            points.append(law_errors(end, law, exact.nfe))
        results[repr(solver)] = points
    return results


def with_every_diffusion(solvers: Sequence[Solver]) -> list[Solver]:
    """The solvers, Euler-Maruyama once for each diffusion coefficient."""
    room = importlib.import_module("fmlab.solvers")
    diffusions = [getattr(room, entry.name)() for entry in of_kind("diffusions")]
    others = [solver for solver in solvers if not isinstance(solver, EulerMaruyama)]
    return [*(EulerMaruyama(diffusion) for diffusion in diffusions), *others]


def images(data: ImageData) -> tuple[Tensor, Tensor]:
    """The training images in [-1, 1] and their labels."""
    pixels, labels = data.labelled_images("train")
    return to_float(pixels).double(), labels


def image_cases(name: str, data: ImageData, n: int) -> list[Case]:
    """The exact field of a training set: to the end, where it returns one of its images, and until just before."""
    points, labels = images(data)
    law = distributions.Empirical(points, labels)
    noise = SeededNoise(range(n)).initial(points.shape[1:]).double()
    stopped = CondOT()
    stopped.t_end = BEFORE_MEMORISATION
    return [
        Case(f"{name}, {len(points):,} training images, at t = {BEFORE_MEMORISATION:g}", law, stopped, noise),
        Case(f"{name}, {len(points):,} training images, at t = 1", law, CondOT(), noise, smooth=False),
    ]


def mixture_case(n: int) -> Case:
    """Three Gaussians in the plane."""
    noise = SeededNoise(range(n)).initial((2,)).double()
    return Case("Three Gaussians in the plane, at t = 1", distributions.three_gaussians(), CondOT(), noise)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["mixture", "digits", "fashion"], default=["mixture", "digits"])
    parser.add_argument("--root", default=os.environ.get("FMLAB_DATA", "data"), help="where FashionMNIST/raw is")
    parser.add_argument("--limit", type=int, default=1000, help="Fashion-MNIST training images")
    parser.add_argument("--samples", type=int, default=64, help="images per case; four times as many points")
    parser.add_argument("--law_samples", type=int, default=20_000, help="points for the SDE's mean and covariance")
    parser.add_argument("--budgets", nargs="+", type=int, default=[8, 16, 32, 64, 128, 256], help="evaluations")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    chosen, parts, began = options(), Parts.exported(), time.perf_counter()
    plots: dict[str, list[Results]] = {}
    laws: dict[str, list[LawPoint]] = {}
    if "mixture" in chosen.only:
        plots["solvers_mixture"] = [measure(mixture_case(4 * chosen.samples), parts, chosen.budgets)]
        laws = measure_laws(parts, chosen.budgets, chosen.law_samples)
    if "digits" in chosen.only:
        cases = image_cases("Digits", Digits(), chosen.samples)
        plots["solvers_digits"] = [measure(case, parts, chosen.budgets) for case in cases]
    if "fashion" in chosen.only:
        cases = image_cases("Fashion-MNIST", FashionMNIST(chosen.root, limit=chosen.limit), chosen.samples)
        plots["solvers_fashion"] = [measure(case, parts, chosen.budgets) for case in cases]
    for name, results in plots.items():
        plot(results, chosen.budgets, chosen.out / f"{name}.png")
    if laws:
        plot_laws(laws, chosen.budgets, chosen.out / "solvers_sde.png")
    text = section(plots, laws, parts.left_out, chosen.budgets)
    write_section("solver_table", text, chosen.out / "results.md")
    print(f"{time.perf_counter() - began:.0f} s; {chosen.out / 'results.md'}")


if __name__ == "__main__":
    main()
