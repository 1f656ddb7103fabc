"""Do exact fields rank solvers as a trained network does? `python benchmarks/solver_ranking.py RUN`

The same solvers and grids follow the trained field of a run of images, the exact field of its training set with the
same labels and seeds, and the mixture of `solver_table.py`. Each is ranked at equal evaluations by its distance from a
converged solve of the same field; the noisy ones, which have none, by the Frechet distance of the images. It writes its
section of docs/results.md and docs/solvers_trained.png.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from results_page import markdown_table, write_section
from scipy.stats import spearmanr
from solver_measure import Solve, max_steps_within, rms
from solver_report import MARKERS, dressed, logarithmic
from solver_table import BEFORE_MEMORISATION, Parts, mixture_case
from torch import Tensor

import fmlab
from fmlab.data.pixels import to_uint8
from fmlab.fields import ExactField, PathField, Sampling
from fmlab.inference.trained import Trained
from fmlab.metrics.cache import cache_folder
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts
from fmlab.paths import CondOT, gaussian_path
from fmlab.solvers import Dopri5, Grid, Heun, Midpoint, SeededNoise, Solver, UniformGrid

Setting = tuple[Solver, Grid]
Errors = dict[str, list[Solve | None]]

ABOUT = """\
## Solvers on a trained network, and on exact fields

`python benchmarks/solver_ranking.py {run}` gives every fixed-step solver (on `UniformGrid`) and every grid (with Heun)
the same number of evaluations of the network of `{run}` (step {step:,}, averaged weights, {samples} images, one label
per image, no guidance), of the exact field of its {training:,} training images from the same seeds and labels, until
t = 1, where it returns one of them, and until t = 0.75, and of the three Gaussians of the section above. Error is
the root mean square distance per entry to a converged solve of the same field: {steps} midpoint steps for the network,
which lie {bound:.0e} from half as many, and Dopri5 for the exact fields. Rank 1 is the least error; equal errors share
a rank."""


@dataclass
class Images:
    """One field of images, followed from fixed seeds.

    Attributes:
        make_field: Gives it for labels.
        labels: One per image.
        seeds: One per image.
        shape: Of an image.
    """

    make_field: Callable[[Tensor], PathField]
    labels: Tensor
    seeds: Sequence[int]
    shape: tuple[int, ...]
    precision: torch.dtype = torch.float32

    def solve(self, solver: Solver, grid: Grid, steps: int) -> tuple[Tensor, int]:
        """The images at t = 1 and their evaluations."""
        field, noise = self.make_field(self.labels), SeededNoise(self.seeds)
        start = field.path.initial(noise.initial(self.shape).to(self.precision))
        end = solver.solve(field, start, grid(steps, field.path), noise=noise)
        return end, field.nfe

    def errors(self, settings: dict[str, Setting], budgets: Sequence[int], converged: Tensor) -> Errors:
        """One error per setting and budget."""
        errors: Errors = {}
        for name, (solver, grid) in settings.items():
            errors[name] = []
            for budget in budgets:
                steps = max_steps_within(budget, solver, CondOT())
                end, nfe = self.solve(solver, grid, steps) if steps else (None, 0)
                errors[name].append(None if end is None else Solve(steps, nfe, rms(end.double() - converged)))
        return errors


def stopped(trained: Trained) -> Callable[[Tensor], PathField]:
    """The exact field on the run's path until it is settled which training image comes out."""
    law, path = trained.law(), copy.copy(gaussian_path(trained.path, "an exact field"))
    path.t_end = BEFORE_MEMORISATION
    return lambda labels: ExactField(law, path, labels)


def ranks(errors: Errors, index: int, floor: float) -> dict[str, float]:
    """Ranks of the settings at one budget, equal ones where errors are; below `floor` all are equal."""
    errors_at_budget = {name: max(points[index].error, floor) for name, points in errors.items() if points[index]}  # type: ignore[union-attr]
    # Three significant digits: solvers that are one method on this path differ by rounding only.
    values = {name: float(f"{error:.2e}") for name, error in errors_at_budget.items()}
    ordered = sorted(values.values())
    return {name: ordered.index(value) + (ordered.count(value) + 1) / 2 for name, value in values.items()}


def correlation(first: dict[str, float], second: dict[str, float]) -> float:
    """Spearman's rank correlation over the settings that both rank."""
    names = [name for name in first if name in second]
    return float(spearmanr([first[name] for name in names], [second[name] for name in names]).statistic)


def frechet(trained: Trained, solver: Solver, budget: int, n: int) -> tuple[float, float]:
    """The Frechet distance of n images, seen by the data set's own features, and its standard error."""
    parts = MetricParts(trained.data(), n, cache_folder(), "domain", device=trained.device)
    metrics = MetricSet(["fid"], parts)
    labels, first = trained.choose_labels(n, None), 0
    sampling = Sampling(solver, max_steps_within(budget, solver, CondOT()), UniformGrid())
    for batch in trained.generate_batches(range(n), labels, sampling):
        places = torch.arange(first, first + len(batch.samples))
        metrics.update(to_uint8(batch.samples), labels[places] if labels is not None else None, places)
        first += len(places)
    values = metrics.compute()
    return values["fid_domain"], values["fid_domain_std"]


def rank_tables(fields: dict[str, Errors], budgets: Sequence[int], floors: dict[str, float]) -> str:
    """The correlations, then error and rank of each setting on each field, best on the network first."""
    ranked = [{name: ranks(errors, i, floors[name]) for name, errors in fields.items()} for i in range(len(budgets))]
    others = [name for name in fields if name != "network"]
    correlations = [
        [f"{budget} NFE", *(f"{correlation(ranking['network'], ranking[other]):.2f}" for other in others)]
        for budget, ranking in zip(budgets, ranked)
    ]
    parts = [
        "Spearman's rank correlation of the network's ranking with that of",
        markdown_table(["", *others], correlations),
    ]
    for index, (budget, ranking) in enumerate(zip(budgets, ranked)):
        best_first = sorted(ranking["network"], key=lambda name: ranking["network"][name])
        rows = [
            [f"`{name}`", *(cell(fields[field][name][index], ranking[field][name], floors[field]) for field in fields)]
            for name in best_first
        ]
        parts += [f"### Error and rank at {budget} evaluations", markdown_table(["solver or grid", *fields], rows)]
    return "\n\n".join(parts)


def distance_table(
    distances: dict[Solver, list[tuple[float, float]]], errors: Errors, budgets: Sequence[int], n: int
) -> str:
    """The Frechet distances, least first, and how they rank the solvers that have an error."""
    rows = [
        [
            f"`{type(s).__name__}`",
            "yes" if s.stochastic else "no",
            *(f"{value:.3f} ± {std:.3f}" for value, std in values),
        ]
        for s, values in sorted(distances.items(), key=lambda item: item[1][-1])
    ]
    correlations = []
    for index, budget in enumerate(budgets):
        by_error = ranks({repr(s): errors[repr(s)] for s in distances if repr(s) in errors}, index, 0.0)
        by_distance = {repr(s): values[index][0] for s, values in distances.items()}
        correlations.append(f"{correlation(by_error, by_distance):.2f} at {budget} NFE")
    return "\n\n".join(
        [
            "### By the distance of images from real ones",
            f"The Fréchet distance by the data set's own features, {n} images without guidance, every solver on"
            " `UniformGrid` with its defaults, noisy ones too. Spearman's rank correlation of the distance with the"
            f" error above, over the solvers that have one: {', '.join(correlations)}.",
            markdown_table(["solver", "noisy", *(f"{budget} NFE" for budget in budgets)], rows),
        ]
    )


def cell(point: Solve | None, rank: float, floor: float) -> str:
    assert point is not None
    shown = f"{point.error:.1e}" if point.error > floor else f"< {floor:.0e}"
    return f"{shown} ({rank:g})"


def plot(fields: dict[str, Errors], budgets: Sequence[int], solvers: Sequence[str], out: Path, shown: int) -> None:
    """Error against NFE on the network; and its errors against those on the mixture at one budget."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    for name, colour, marker, style in dressed(solvers):
        points = [point for point in fields["network"][name] if point]
        where, errors = [p.nfe for p in points], [p.error for p in points]
        left.plot(where, errors, style, color=colour, marker=marker, ms=5, lw=1.4, label=name.removesuffix("()"))
    logarithmic(left, budgets)
    left.set_ylabel("RMS distance to the converged solve")
    left.set_title("solvers on the trained network", fontsize=11)
    index = list(budgets).index(shown)
    for name, colour, marker, _ in dressed(solvers):
        pair = [fields[field][name][index] for field in ("three Gaussians", "network")]
        if all(pair):
            right.plot([pair[0].error], [pair[1].error], marker, color=colour, ms=8)  # type: ignore[union-attr]
    grids = [name for name in fields["network"] if name not in solvers]
    for number, name in enumerate(grids):
        pair = [fields[field][name][index] for field in ("three Gaussians", "network")]
        if all(pair):
            x, y = (point.error for point in pair)  # type: ignore[union-attr]
            right.plot([x], [y], MARKERS[number], color="grey", ms=7, fillstyle="none", label=name)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("error on the exact field of three Gaussians")
    right.set_ylabel("error on the trained network")
    right.set_title(f"{shown} evaluations: solvers as on the left, grids with Heun in grey", fontsize=11)
    right.grid(alpha=0.3)
    handles = [*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside right center", fontsize=8)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--samples", type=int, default=64, help="images whose error is measured")
    parser.add_argument("--budgets", nargs="+", type=int, default=[8, 16, 32], help="evaluations")
    parser.add_argument("--converged", type=int, default=320, help="midpoint steps of the network's converged solve")
    parser.add_argument("--frechet", type=int, default=500, help="images of each Frechet distance")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    return parser.parse_args()


def measure(
    trained: Trained, settings: dict[str, Setting], chosen: argparse.Namespace
) -> tuple[dict[str, Errors], dict[str, float]]:
    """Every setting's errors on each field, and below what they say nothing there."""
    labels, seeds = trained.choose_labels(chosen.samples, None), range(chosen.samples)
    assert labels is not None
    network = Images(trained.field, labels, seeds, trained.shape)
    counts = (chosen.converged // 2, chosen.converged)
    half, converged = (network.solve(Midpoint(), UniformGrid(), n)[0].double() for n in counts)
    fields = {"network": network.errors(settings, chosen.budgets, converged)}
    floors = {"network": rms(converged - half)}
    exact = {"training images": trained.exact_field, "training images to 0.75": stopped(trained)}
    for name, make_field in exact.items():
        images = Images(make_field, labels, seeds, trained.shape, torch.float64)
        target, looser = (images.solve(Dopri5(tol, tol, 100_000), UniformGrid(), 1)[0] for tol in (1e-9, 1e-8))
        fields[name], floors[name] = images.errors(settings, chosen.budgets, target), 10 * rms(target - looser)
    mixture = mixture_case(4 * chosen.samples)
    fields["three Gaussians"] = {
        name: mixture.measure_within(chosen.budgets, solver, grid) for name, (solver, grid) in settings.items()
    }
    floors["three Gaussians"] = mixture.resolution
    return fields, floors


@torch.no_grad()
def main() -> None:
    chosen, parts, began = options(), Parts.exported(), time.perf_counter()
    trained = fmlab.load(chosen.run)
    solvers: dict[str, Setting] = {repr(solver): (solver, UniformGrid()) for solver in parts.fixed}
    grids = [grid for grid in parts.grids if not isinstance(grid, UniformGrid)]
    settings = {**solvers, **{f"Heun, {type(grid).__name__}": (Heun(), grid) for grid in grids}}
    fields, floors = measure(trained, settings, chosen)
    shown = chosen.budgets[len(chosen.budgets) // 2]
    plot(fields, chosen.budgets, list(solvers), chosen.out / "solvers_trained.png", shown)
    few = chosen.budgets[:2]
    distances = {
        solver: [frechet(trained, solver, budget, chosen.frechet) for budget in few]
        for solver in [*parts.fixed, *parts.stochastic]
    }
    about = ABOUT.format(
        run=chosen.run,
        step=trained.origin.step,
        samples=chosen.samples,
        training=len(trained.law().points),  # type: ignore[misc, attr-defined]
        steps=chosen.converged,
        bound=floors["network"],
    )
    text = [about, "![Solvers on a trained network](solvers_trained.png)", rank_tables(fields, chosen.budgets, floors)]
    text += [distance_table(distances, fields["network"], few, chosen.frechet)]
    write_section("solver_ranking", "\n\n".join(text), chosen.out / "results.md")
    print(f"{time.perf_counter() - began:.0f} s; {chosen.out / 'results.md'}")


if __name__ == "__main__":
    main()
