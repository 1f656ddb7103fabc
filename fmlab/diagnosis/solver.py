"""Solver error: how far the run's own sampler ends from a converged solve of the same field with the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from torch import Tensor

from fmlab.diagnosis.subject import Subject
from fmlab.errors import UserError
from fmlab.fields import Sampling, count_evaluations, max_steps_within
from fmlab.figures.convergence import Solve, rms
from fmlab.solvers import AB2, RK4, CosineGrid, Dopri5, Euler, Heun, Midpoint, Solver, UniformGrid

FIRST, LAST = 10, 640  # steps of the coarsest and the finest solve on the way to convergence
OTHERS: tuple[Solver, ...] = (Euler(), AB2(), Heun(), RK4())
"""Solvers that the run's own is compared with at its cost."""


@dataclass(frozen=True)
class Need:
    """The network forwards that an accuracy takes.

    That is `at most` where the coarsest solve is good enough, `about` between two solves, `extrapolated` beyond them.
    """

    nfe: int
    how: Literal["at most", "about", "extrapolated"]


@dataclass(frozen=True)
class Converged:
    """A solve that finer steps do not change.

    Attributes:
        samples: Where it ends, of shape (pairs, *event).
        steps: Its steps.
        bound: Root mean square distance per entry from the solve with half the steps; more where that shrinks so slowly
            from doubling to doubling that all further doublings together would move it farther.
        unit: What counts as no difference: 1/255 of the range of images, 1/255 of the distance between points.
        spread: Root mean square distance per entry between two samples.
        settled: Whether `bound` is below half a unit.
        sampling: The cheapest solve on the way here that ends within a unit of it, for larger sets.
    """

    samples: Tensor
    steps: int
    bound: float
    unit: float
    spread: float
    settled: bool
    sampling: Sampling

    def record(self) -> dict[str, Any]:
        """Everything in plain values."""
        plain = {name: getattr(self, name) for name in ("steps", "bound", "unit", "spread", "settled")}
        return {**plain, "seeds": len(self.samples), "sets_by": f"Midpoint, {self.sampling.steps} steps"}


@dataclass(frozen=True)
class SolverError:
    """The run's own sampler against the converged solve, and so a scan of its steps, and others at no more cost."""

    own: Solve
    scan: list[Solve]
    others: dict[str, Solve]

    def need(self, distance: float) -> Need | None:
        """The forwards after which the error is below a distance; None where the scan does not show it."""
        return forwards_for(self.scan, distance)

    def record(self, converged: Converged) -> dict[str, Any]:
        """Everything in plain values."""
        needs = {"unit": converged.unit, "tenth_of_distance": converged.spread / 10}
        return {
            "own": asdict(self.own),
            "scan": [asdict(solve) for solve in self.scan],
            "others": {name: asdict(solve) for name, solve in self.others.items()},
            "forwards_below": {
                name: asdict(need) if (need := self.need(distance)) else None for name, distance in needs.items()
            },
        }


def converge(subject: Subject) -> Converged:
    """Solves by the midpoint rule on the run's own grid, with twice the steps until that changes nothing.

    An adaptive or a high-order method would not do: a network embeds the time by sines up to 1000 t and is rough in t
    below that scale, which misleads error estimates and leaves nothing to gain for orders above two. And the midpoint
    rule never evaluates the field at the path's ends, where some predictions are clipped.
    """
    solves: list[tuple[Sampling, Tensor]] = []
    steps, bound, distance, unit, spread = FIRST, math.inf, math.inf, 0.0, math.inf
    while steps <= LAST and bound > unit / 2:
        sampling = refine(subject, steps)
        samples, _ = subject.solve(sampling, subject.pairs)
        spread = math.sqrt(2 * samples.double().var(0).mean().item())
        unit = 2 / 255 if subject.images else spread / 255
        before, distance = distance, rms(samples - solves[-1][1]) if solves else math.inf
        bound = remaining_distance(distance, before)
        solves.append((sampling, samples))
        steps *= 2
    finest = solves[-1][1]
    cheapest = next(sampling for sampling, samples in solves if rms(samples - finest) <= unit)
    return Converged(finest, solves[-1][0].steps, bound, unit, spread, bound <= unit / 2, cheapest)


def remaining_distance(distance: float, before: float) -> float:
    """How far a solve may still move, from how far the last doubling of its steps moved it, and the one before."""
    ratio = distance / before if distance > 0 else 0.0
    if math.isnan(ratio) or ratio <= 0.5:
        return distance
    return distance * ratio / (1 - ratio) if ratio < 1 else math.inf


def refine(subject: Subject, steps: int) -> Sampling:
    """Chooses the midpoint rule on the run's own grid, or on a uniform one if that does not allow so many steps.

    On a path whose velocity is infinite at the end the grid crowds there, or no method would reach its order.
    """
    path = subject.sampling.path or subject.module.path
    sampling = replace(subject.sampling, solver=Midpoint(), steps=steps)
    if getattr(path, "beta_dot_infinite_at_end", False):
        return replace(sampling, grid=CosineGrid())
    try:
        sampling.grid(steps, path)
    except UserError:
        return replace(sampling, grid=UniformGrid())
    return sampling


def measure_solver(subject: Subject, converged: Converged) -> SolverError:
    """Measures the run's own sampler, the same with other numbers of steps, and other solvers at its cost.

    Raises:
        UserError: If its solver adds noise, so that no two solves end at the same place, or a sample is not finite.
    """
    sampling = subject.sampling
    if sampling.solver.stochastic:
        raise UserError(f"{sampling.solver!r} adds noise, so its samples do not end where those of the flow do")
    own_error = _measure(subject, sampling, converged)
    if isinstance(sampling.solver, Dopri5):
        return SolverError(own_error, [own_error], {})
    scan = {own_error.steps: own_error}
    for steps in scan_steps(own_error.steps):
        if steps > own_error.steps and scan[max(scan)].error <= converged.unit:
            break
        if steps not in scan:
            solve = _attempt(subject, replace(sampling, steps=steps), converged)
            scan |= {} if solve is None else {steps: solve}
    others: dict[str, Solve] = {}
    path = sampling.path or subject.module.path
    budget = count_evaluations(sampling.solver, own_error.steps, path)
    for solver in OTHERS:
        steps = max_steps_within(budget, solver, path)
        if steps and type(solver) is not type(sampling.solver):
            solve = _attempt(subject, replace(sampling, solver=solver, steps=steps), converged)
            others |= {} if solve is None else {type(solver).__name__: solve}
    return SolverError(own_error, [scan[steps] for steps in sorted(scan)], others)


def scan_steps(own: int) -> list[int]:
    """Numbers of steps, each twice the last: from a quarter of the run's own to four times as many, at least to 32."""
    counts = sorted({max(1, round(own * 2.0**power)) for power in range(-2, 3)})
    while counts[-1] < 32:
        counts.append(2 * counts[-1])
    return counts


def forwards_for(scan: Sequence[Solve], distance: float) -> Need | None:
    """The forwards after which the error falls below a distance, along straight lines in the logarithms of both."""
    if scan[0].error <= distance:
        return Need(scan[0].nfe, "at most")
    last = next((index for index, solve in enumerate(scan) if solve.error <= distance), None)
    if last is None and len(scan) < 2:
        return None
    before, after = (scan[-2], scan[-1]) if last is None else (scan[last - 1], scan[last])
    if after.error == 0:
        return Need(after.nfe, "about")
    slope = math.log(before.error / after.error) / math.log(after.nfe / before.nfe)
    if slope < 0.5:  # steps that help so little promise nothing
        return None
    nfe = before.nfe * (before.error / distance) ** (1 / slope)
    return Need(math.ceil(nfe), "extrapolated" if last is None else "about")


def _measure(subject: Subject, sampling: Sampling, converged: Converged) -> Solve:
    samples, nfe = subject.solve(sampling, subject.pairs)
    return Solve(sampling.steps, nfe, rms(samples - converged.samples))


def _attempt(subject: Subject, sampling: Sampling, converged: Converged) -> Solve | None:
    """Does the same; None where grid or solver does not allow so many steps, or a sample is not finite."""
    try:
        return _measure(subject, sampling, converged)
    except UserError:
        return None
