"""Where the error of a run comes from: network, solver, guidance, or too few data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from fmlab.diagnosis.distance import Distances, measure_distances
from fmlab.diagnosis.memory import Neighbours, measure_neighbours
from fmlab.diagnosis.model import ModelError, measure_model, still_falling
from fmlab.diagnosis.solver import Converged, SolverError, converge, measure_solver
from fmlab.diagnosis.subject import Subject
from fmlab.diagnosis.verdict import Findings, Verdict, judge
from fmlab.errors import UserError
from fmlab.metrics import FeatureKind
from fmlab.records import RunLayout

T = TypeVar("T")
# Where a run is not guided, this scale is tried beside it: enough to show which way quality goes, and below the scales
# at which guidance begins to oversaturate.
SOME_GUIDANCE = 1.5


@dataclass
class Diagnosis:
    """What was found, and what could not be known.

    Attributes:
        findings: The parts.
        verdict: What to change first.
        unknown: Why a part is missing, by its name, in a line.
    """

    findings: Findings
    verdict: Verdict
    unknown: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Everything in plain values, as JSON holds them."""
        found = self.findings
        content: dict[str, Any] = {"first": self.verdict.first, "verdict": self.verdict.text, "unknown": self.unknown}
        if found.model is not None:
            content["model"] = {**found.model.record(), "fell_in_last_quarter": found.falling}
        if found.converged is not None:
            own = found.solver.record(found.converged) if found.solver is not None else {}
            content["solver"] = {"converged": _plain(found.converged), **own}
        if found.distances is not None:
            other = {} if found.other_scale is None else {"other_guidance_scale": found.other_scale}
            content["distance"] = {**found.distances.record(), **other}
        if found.neighbours is not None:
            content["memorisation"] = found.neighbours.record()
        known: dict[str, Any] = _finite(content)
        return known


def _finite(content: Any) -> Any:
    """The same with None for what is not finite, which JSON does not know."""
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _plain(converged: Converged) -> dict[str, Any]:
    names = ("steps", "bound", "unit", "spread", "settled")
    plain = {name: getattr(converged, name) for name in names}
    return {**plain, "seeds": len(converged.samples), "sets_by": f"Midpoint, {converged.sampling.steps} steps"}


def diagnose(
    subject: Subject,
    run: RunLayout | None = None,
    features: FeatureKind = "auto",
    say: Callable[[str], None] = lambda what: None,
) -> Diagnosis:
    """Measures every part that can be known, and judges.

    Args:
        subject: What is diagnosed.
        run: Its run, for the log of its training.
        features: Which network sees images.
        say: Told what is measured next.
    """
    unknown: dict[str, str] = {}

    def part(name: str, what: str, measure: Callable[[], T]) -> T | None:
        say(what)
        try:
            return measure()
        except UserError as error:
            unknown[name] = error.message
            return None

    model: ModelError | None = part("model", "excess loss", lambda: measure_model(subject))
    converged: Converged | None = part("converged", "converged solve", lambda: converge(subject))
    solver: SolverError | None = None
    sets: dict[str, Tensor] | None = None
    other = another_scale(subject)
    if converged is not None:
        solver = part("solver", "solvers", lambda: measure_solver(subject, converged))
        sets = part("samples", "samples", lambda: sample_sets(subject, converged, other))
    distances: Distances | None = None
    neighbours: Neighbours | None = None
    if sets is not None:
        distances = part("distances", "distances", lambda: measure_distances(subject, sets, features))
        neighbours = part("neighbours", "nearest neighbours", lambda: measure_neighbours(subject, sets["converged"]))
    falling = None
    if run is not None:
        falling = still_falling(run, model.means.overall("floor").value if model is not None else 0.0)
    findings = Findings(
        images=subject.images,
        solver_name=type(subject.sampling.solver).__name__,
        scale=subject.guidance_scale,
        other_scale=other if distances is not None else None,
        model=model,
        converged=converged,
        solver=solver,
        distances=distances,
        neighbours=neighbours,
        falling=falling,
    )
    return Diagnosis(findings, judge(findings), unknown)


def another_scale(subject: Subject) -> float | None:
    """The guidance scale to compare the run's own with; None for a network that cannot be guided."""
    if subject.module.num_classes is None or subject.module.label_dropout == 0:
        return None
    return SOME_GUIDANCE if subject.guidance_scale == 1 else 1.0


def sample_sets(subject: Subject, converged: Converged, other: float | None) -> dict[str, Tensor]:
    """Samples of the run's own sampler, of a solve without error, and of the own one at another guidance scale."""
    sets = {
        "converged": subject.solve(converged.sampling, subject.n)[0],
        "own": subject.solve(subject.sampling, subject.n)[0],
    }
    if other is not None:
        sets["other"] = subject.solve(subject.sampling, subject.n, other)[0]
    return sets
