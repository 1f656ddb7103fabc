"""The solver benchmark's section of the results page, and its plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator
from results_page import markdown_table
from solver_measure import TOLERANCES, Case, LawPoint, Results, Solve

MARKERS = "osD^v<>PX*hpd8"

FAMILIES = {"Runge-Kutta": "winter", "Adams-Bashforth": "summer", "in log-SNR": "autumn"}
"""The methods that are drawn in one range of colours, by the colour map."""

ABOUT = """\
## Solvers and grids

`python benchmarks/solver_table.py` follows fields known in closed form: what is measured is solver error alone.
Error is the root mean square distance, over all entries, to a converged solution of the same field from the same
noise (Dopri5 at tolerance 1e-11), on the straight path (`CondOT`) in float64. Each column is a budget of field
evaluations (NFE); a method takes as many steps as the budget pays for, and an adaptive one is evaluated until its
slowest sample is done. Order is the slope of log(error) against log(steps) between the two finest solves of the row.

Methods in log-SNR (DDIM, DPM-Solver++, UniPC; dashed) have their order where the log-SNR is finite. On `UniformGrid` it
is infinite at both ends, where they step by DDIM, and steps next to the ends are long in log-SNR however many there
are: from end to end that leaves an order of 2 at most. On this path DDIM is Euler."""

SHARP = """\
The exact field of a finite training set returns a training image. At t = 0.75 it is settled which, and errors are
smooth but for the samples that have gone to another image, which coarse solves have. At t = 1 a method has found the
image to rounding, or another one. A method that evaluates the field at the end of time (RK4, and Dopri5 by
shortening its steps) meets a field that has no limit there."""

LAWS = """\
### SDE solvers: error of the law

The end of an SDE has no converged counterpart without its noise, so here laws are compared: the error of mean and
covariance of {n} samples of the three Gaussians, relative to the law's spread and covariance, in per cent. The first
row is what exact draws of that number typically give; errors up to it are sampling noise. Euler and Heun follow the
ODE from the same start. Euler-Maruyama is there once for every diffusion coefficient."""


def section(
    plots: Mapping[str, Sequence[Results]],
    laws: Mapping[str, Sequence[LawPoint]],
    left_out: Mapping[str, str],
    budgets: Sequence[int],
) -> str:
    """The Markdown of everything that was measured."""
    parts = [ABOUT]
    for name, cases in plots.items():
        parts += [SHARP] if len(cases) > 1 else []
        parts += [f"![Error against evaluations]({name}.png)"]
        parts += [case_tables(results, budgets) for results in cases]
    if laws:
        parts += [LAWS.format(n=next(iter(laws)).split()[0]), "![Errors of the law](solvers_sde.png)"]
        parts += [law_table(laws, budgets)]
    if left_out:
        parts += ["Not measured: " + "; ".join(f"`{name}` ({why})" for name, why in left_out.items()) + "."]
    parts += [f"Measured with torch {torch.__version__}."]
    return "\n\n".join(parts)


def case_tables(results: Results, budgets: Sequence[int]) -> str:
    """Solvers, tolerances and grids of one case."""
    case, columns = results.case, [f"{budget} NFE" for budget in budgets]
    solvers = [
        [f"`{name}`", *(cell(case, point) for point in points), order(case, points), f"{results.orders[name]:g}"]
        for name, points in results.solvers.items()
    ]
    grids = [
        [f"`{grid}`", solver.partition("(")[0], *(cell(case, point) for point in points), order(case, points)]
        for (grid, solver), points in sorted(results.grids.items(), key=lambda item: item[0][1])
    ]
    tolerances = [
        [f"`{name}`", *(f"{cell(case, point)} ({point.nfe})" for point in points)]
        for name, points in results.tolerances.items()
    ]
    return "\n\n".join(
        [
            f"### {case.title}",
            f"{len(case.noise)} samples. Fixed steps on `UniformGrid`:",
            markdown_table(["solver", *columns, "order", "declared"], solvers),
            "Adaptive steps: error (and NFE) at rtol = atol =",
            markdown_table(["solver", *(f"{tolerance:.0e}" for tolerance in TOLERANCES)], tolerances),
            "Every grid:",
            markdown_table(["grid", "solver", *columns, "order"], grids),
        ]
    )


def law_table(laws: Mapping[str, Sequence[LawPoint]], budgets: Sequence[int]) -> str:
    """Errors of mean and covariance, in per cent."""
    rows = [
        [name if "exact" in name else f"`{name}`", *(f"{100 * p.mean:.1f} / {100 * p.covariance:.1f}" for p in points)]
        for name, points in laws.items()
    ]
    return markdown_table(["mean / covariance", *(f"{budget} NFE" for budget in budgets)], rows)


def cell(case: Case, point: Solve | None) -> str:
    """One error, or that it is too small to be told."""
    if point is None:
        return "-"
    return f"{point.error:.1e}" if point.error > case.resolution else f"< {case.resolution:.0e}"


def order(case: Case, points: Sequence[Solve | None]) -> str:
    """The observed order."""
    order = case.observed_order(points)
    return "-" if order is None else f"{order:.2f}"


def plot(cases: Sequence[Results], budgets: Sequence[int], file: Path) -> None:
    """Error against NFE: solvers on the left, grids on the right, one row per case."""
    figure, rows = plt.subplots(len(cases), 2, figsize=(13, 4.8 * len(cases)), squeeze=False, layout="constrained")
    for (left, right), results in zip(rows, cases):
        for name, colour, marker, style in dressed(results.solvers):
            curve(left, results.case, results.solvers[name], name.removesuffix("()"), colour, marker, style)
        for name, points in results.tolerances.items():
            curve(left, results.case, points, f"{name}, tolerance 1e-2 to 1e-8", "black", "", "--")
        grids = dict.fromkeys(grid for grid, _ in results.grids)
        for index, grid in enumerate(grids):
            for solver, style in (("Heun()", "-"), ("Euler()", ":")):
                label = grid.partition("(")[0] if style == "-" else None
                marker = MARKERS[index % len(MARKERS)]
                curve(right, results.case, results.grids[grid, solver], label, f"C{index % 10}", marker, style)
        left.set_title(f"{results.case.title}\nsolvers on UniformGrid", fontsize=11)
        right.set_title(f"{results.case.title}\ngrids: Heun (solid), Euler (dotted)", fontsize=11)
        for axes in (left, right):
            dress(axes, results.case, budgets)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def family(name: str) -> str:
    """Which of `FAMILIES` a solver is of, by its name."""
    if name.startswith("AB"):
        return "Adams-Bashforth"
    return "in log-SNR" if name.startswith(("DDIM", "DPM", "UniPC", "EDM")) else "Runge-Kutta"


def dressed(names: Iterable[str]) -> Iterator[tuple[str, tuple[float, ...], str, str]]:
    """Each solver with a colour of its family's range, a marker of its own and a line style."""
    for group, colours in FAMILIES.items():
        members = [name for name in names if family(name) == group]
        for index, name in enumerate(members):
            colour = colormaps[colours](0.85 * index / max(len(members) - 1, 1))
            yield name, colour, MARKERS[index], "--" if group == "in log-SNR" else "-"


def plot_laws(laws: Mapping[str, Sequence[LawPoint]], budgets: Sequence[int], file: Path) -> None:
    """Errors of mean and of covariance against NFE; below the grey line they are sampling noise."""
    figure, panels = plt.subplots(1, 2, figsize=(13, 4.8), layout="constrained", sharex=True)
    names = [name for name in laws if "exact" not in name]
    for axes, part in zip(panels, ("mean", "covariance")):
        for index, name in enumerate(names):
            ode, colour = name in ("Euler()", "Heun()"), colormaps["tab20"](index)
            axes.plot(
                [point.nfe for point in laws[name]],
                [100 * getattr(point, part) for point in laws[name]],
                ":" if ode else "-",
                marker=MARKERS[index % len(MARKERS)],
                ms=5,
                lw=1.4,
                color="black" if ode else colour,
                label=short(name),
            )
        exact = next(points for name, points in laws.items() if "exact" in name)
        axes.axhline(100 * getattr(exact[0], part), color="grey", lw=0.8, ls=(0, (1, 3)))
        logarithmic(axes, budgets)
        axes.set_ylabel(f"error of the {part}, per cent")
    panels[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.suptitle("Three Gaussians at t = 1 by SDE solvers (dotted: ODE); grey: exact draws", fontsize=11)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def short(name: str) -> str:
    """A solver's repr without what its defaults say."""
    inner = re.search(r"diffusion=(\w+)Diffusion\(", name)
    return f"{name.partition('(')[0]}, {inner[1]}" if inner else name.partition("(")[0]


def curve(
    axes: Axes,
    case: Case,
    points: Sequence[Solve | None],
    label: str | None,
    colour: str | tuple[float, ...],
    marker: str,
    style: str = "-",
) -> None:
    """One line of points; those that reach the floor lie on it."""
    solved = [point for point in points if point]
    errors = [max(point.error, case.resolution) for point in solved]
    axes.plot([p.nfe for p in solved], errors, style, marker=marker, ms=5, lw=1.4, color=colour, label=label)


def dress(axes: Axes, case: Case, budgets: Sequence[int]) -> None:
    """Scales, ticks, words."""
    logarithmic(axes, budgets)
    axes.set_ylabel("RMS distance to the converged solution")
    if axes.dataLim.y0 <= case.resolution:
        axes.axhline(case.resolution, color="grey", lw=0.8, ls=(0, (1, 3)))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))


def logarithmic(axes: Axes, budgets: Sequence[int]) -> None:
    """Both axes logarithmic, with a tick a budget."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(budgets)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(budget) for budget in budgets])
    axes.set_xlim(min(budgets) / 1.2, max(budgets) * 1.2)
    axes.set_xlabel("evaluations of the field (NFE)")
    axes.grid(alpha=0.3)
