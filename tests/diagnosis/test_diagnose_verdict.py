"""The rules that name what to change first, and their words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fmlab.diagnosis.distance import Distances
from fmlab.diagnosis.memorisation import Neighbours
from fmlab.diagnosis.solver import Converged, SolverError
from fmlab.diagnosis.verdict import Findings, judge
from fmlab.fields import Sampling
from fmlab.figures.convergence import Solve
from fmlab.metrics.neighbours import Memorisation
from fmlab.solvers import Midpoint, UniformGrid


def distances(spread: float = 0.01, **means: float) -> Distances:
    """Distances over four splits. Only those between real data, of mean 1, have a spread."""
    values = {"real": [1.0 + shift for shift in (-spread, spread, -spread, spread)]}
    return Distances("val/fid", 100, None, values | {name: [mean] * 4 for name, mean in means.items()})


def solver(own: float, heun: float = 1.0) -> tuple[SolverError, Converged]:
    scan = [Solve(steps, steps, own * 10 / steps) for steps in (5, 10, 20, 40)]
    converged = Converged(torch.zeros(2, 2), 80, 1e-4, 0.008, 1.0, True, Sampling(Midpoint(), 10, UniformGrid()))
    return SolverError(scan[1], scan, {"Heun": Solve(5, 9, heun)}), converged


def neighbours(ratio: float, share: float = 0.01, error: float = 0.05) -> Neighbours:
    empty = torch.zeros(2)
    return Neighbours(Memorisation(ratio, error, share, 0.01, ratio, 1.0), empty, empty, empty, empty)


def findings(**parts: Any) -> Findings:
    error, converged = solver(0.05)
    arguments = {"solver": error, "converged": converged, "model": None, "distances": None, "neighbours": None}
    arguments |= {"images": True, "solver_name": "Euler", "scale": 2.0, "other_scale": None, "falling": None, **parts}
    return Findings(**arguments)


@pytest.mark.parametrize(
    ("own", "converged", "other", "first"),
    [
        (1.0, 1.0, None, "nothing"),
        (1.015, 1.0, None, "nothing"),  # within twice the spread of real-vs-real distances
        (4.0, 3.9, None, "network"),
        (4.0, 3.1, None, "network"),  # 0.9 of 3 are less than a third
        (4.0, 2.9, None, "solver"),
        (4.0, 1.0, None, "solver"),
        (4.0, 4.5, None, "network"),  # a coarse solve may be nearer by chance: the network is to blame
        (4.0, 3.5, 2.0, "guidance"),
        (4.0, 2.0, 2.5, "solver"),  # both would help: the larger part comes first
        (4.0, 3.9, 3.9, "network"),
        (0.5, 0.5, None, "nothing"),
    ],
)
def test_whose_the_distance_is(own: float, converged: float, other: float | None, first: str) -> None:
    sets = {"own": own, "converged": converged} | ({} if other is None else {"other": other})
    scale = None if other is None else 1.0
    verdict = judge(findings(distances=distances(**sets), other_scale=scale, neighbours=neighbours(1.0)))
    assert verdict.first == first
    assert f"Change the {first} first" in verdict.text or first == "nothing"


def test_a_gain_that_varies_as_much_from_split_to_split_is_no_gain() -> None:
    measured = distances(own=4.0, converged=2.0)
    varying = {**measured.values, "own": [1.0, 7.0, 1.0, 7.0], "real": [-2.0, 4.0, -2.0, 4.0]}
    verdict = judge(findings(distances=Distances(measured.key, 100, None, varying)))
    assert verdict.first == "network"


@pytest.mark.parametrize(
    ("ratio", "share", "error", "copies"),
    [
        (0.0, 1.0, 0.0, True),
        (0.45, 0.01, 0.01, True),
        (0.45, 0.01, 0.05, False),
        (0.8, 0.05, 0.05, False),
        (1.0, 0.3, 0.05, True),
        (1.0, 0.26, 0.05, False),
        (1.9, 0.0, 0.05, False),
        (float("nan"), 0.1, 0.05, False),
    ],
)
def test_copies_come_before_everything_else(ratio: float, share: float, error: float, copies: bool) -> None:
    evidence = findings(distances=distances(own=4.0, converged=1.0), neighbours=neighbours(ratio, share, error))
    assert judge(evidence).first == ("data" if copies else "solver")


def test_without_a_distance_the_errors_themselves_are_asked() -> None:
    assert judge(findings()).first == "nothing"
    error, converged = solver(0.1)
    assert judge(findings(solver=error, converged=converged)).first == "solver"
    assert judge(findings(solver=None, converged=None)).first == "nothing"


def test_the_text_says_how() -> None:
    sets = distances(own=4.0, converged=1.0)
    better, converged = solver(0.1, heun=0.02)
    text = judge(findings(distances=sets, solver=better, converged=converged)).text
    assert "val/fid falls from 4 to 1" in text
    assert "Use Heun, which is 5 times as accurate at the same cost" in text
    assert "Euler needs about 100 forwards" in text  # 0.1 at 10 steps, of first order, to 0.01
    worse, converged = solver(0.1, heun=0.08)
    assert "Take more steps" in judge(findings(distances=sets, solver=worse, converged=converged)).text
    assert "adds no noise" in judge(findings(distances=sets, solver=None)).text


@pytest.mark.parametrize(
    ("falling", "advice"),
    [(0.06, "Train longer first"), (0.01, "larger network first"), (None, "Train longer, or")],
)
def test_a_loss_that_still_falls_asks_for_more_steps(falling: float | None, advice: str) -> None:
    assert advice in judge(findings(distances=distances(own=4.0, converged=4.0), falling=falling)).text


def test_a_verdict_is_whole_sentences() -> None:
    for sets in ({"own": 4.0, "converged": 4.0}, {"own": 4.0, "converged": 1.0}, {"own": 1.0, "converged": 1.0}):
        text = judge(findings(distances=distances(**sets))).text
        assert 1 <= text.count(". ") <= 3
        assert text.endswith(".")
