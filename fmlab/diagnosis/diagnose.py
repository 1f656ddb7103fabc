"""Where the error of a run comes from: network, solver, guidance, or too few data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from fmlab.diagnosis.distance import measure_distances
from fmlab.diagnosis.memorisation import measure_neighbours
from fmlab.diagnosis.model import measure_model, recent_fall
from fmlab.diagnosis.solver import Converged, converge, measure_solver
from fmlab.diagnosis.subject import Subject
from fmlab.diagnosis.verdict import Findings, Verdict, judge
from fmlab.errors import UserError
from fmlab.metrics.features import FeatureKind
from fmlab.records import RunLayout

T = TypeVar("T")
# Where a run is not guided, this scale is tried beside it: enough to show which way quality goes, and below the scales
# at which guidance begins to oversaturate.
SOME_GUIDANCE = 1.5
STEPS_BEFORE = {
    "model": (),
    "solver": ("converged",),
    "distances": ("samples", "converged"),
    "neighbours": ("samples", "converged"),
}
"""What each part needs first, and what may therefore be the reason that it is not known."""


@dataclass
class Diagnosis:
    """The results of all parts, what to change first, and why a part is missing, by its name."""

    findings: Findings
    verdict: Verdict
    unknown: dict[str, str] = field(default_factory=dict)

    def reason(self, part: str) -> str | None:
        """Why `model`, `solver`, `distances` or `neighbours` is not known; None if it is."""
        return next((self.unknown[name] for name in (part, *STEPS_BEFORE[part]) if name in self.unknown), None)

    def record(self) -> dict[str, Any]:
        """Everything in plain values, as JSON holds them: None for a number that is not finite."""
        findings = self.findings
        content: dict[str, Any] = {"first": self.verdict.first, "verdict": self.verdict.text, "unknown": self.unknown}
        if findings.model is not None:
            content["model"] = {**findings.model.record(), "fell_in_last_quarter": findings.falling}
        if findings.converged is not None:
            errors = findings.solver.record(findings.converged) if findings.solver is not None else {}
            content["solver"] = {"converged": findings.converged.record(), **errors}
        if findings.distances is not None:
            other = {} if findings.other_scale is None else {"other_guidance_scale": findings.other_scale}
            content["distance"] = {**findings.distances.record(), **other}
        if findings.neighbours is not None:
            content["memorisation"] = findings.neighbours.record()
        finite: dict[str, Any] = _without_nan(content)
        return finite


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def diagnose(
    subject: Subject,
    run: RunLayout | None = None,
    features: FeatureKind = "auto",
    announce: Callable[[str], None] = lambda part: None,
) -> Diagnosis:
    """Measures every part that can be known, and decides what to change first.

    The run has the log of its training; `features` names the network that sees images; `announce` is called with the
    name of what is measured next.
    """
    unknown: dict[str, str] = {}

    def part(name: str, label: str, measure: Callable[[], T]) -> T | None:
        announce(label)
        try:
            return measure()
        except UserError as error:
            unknown[name] = error.message
            return None

    model = part("model", "excess loss", lambda: measure_model(subject))
    converged = part("converged", "converged solve", lambda: converge(subject))
    solver = sets = distances = neighbours = None
    other = choose_other_scale(subject)
    if converged is not None:
        solver = part("solver", "solvers", lambda: measure_solver(subject, converged))
        sets = part("samples", "samples", lambda: sample_sets(subject, converged, other))
    if sets is not None:
        distances = part("distances", "distances", lambda: measure_distances(subject, sets, features))
        neighbours = part("neighbours", "nearest neighbours", lambda: measure_neighbours(subject, sets["converged"]))
    falling = None
    if run is not None:
        falling = recent_fall(run, model.means.overall("floor").value if model is not None else 0.0)
    findings = Findings(
        subject.images,
        type(subject.sampling.solver).__name__,
        subject.guidance_scale,
        other if distances is not None else None,
        model,
        converged,
        solver,
        distances,
        neighbours,
        falling,
    )
    return Diagnosis(findings, judge(findings), unknown)


def choose_other_scale(subject: Subject) -> float | None:
    """Chooses a guidance scale to compare the run's own with; None for a network that cannot be guided."""
    if subject.module.num_classes is None or subject.module.label_dropout == 0:
        return None
    return SOME_GUIDANCE if subject.guidance_scale == 1 else 1.0


def sample_sets(subject: Subject, converged: Converged, other: float | None) -> dict[str, Tensor]:
    """Samples by a converged solve, by the run's own sampler, and by that one at another guidance scale."""
    sets = {
        "converged": subject.solve(converged.sampling, subject.n)[0],
        "own": subject.solve(subject.sampling, subject.n)[0],
    }
    if other is not None:
        sets["other"] = subject.solve(subject.sampling, subject.n, other)[0]
    return sets
