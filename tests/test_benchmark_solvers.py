"""The solver benchmark leaves no solver and no grid out, and its page keeps what others wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fmlab.config.catalog import of_kind
from fmlab.paths import CondOT
from fmlab.solvers import AB3, Dopri5, Euler, Heun, UniformGrid

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("solver_ranking", "solver_table", "solver_measure", "solver_report", "results_page"):
        sys.modules.pop(name, None)


def test_every_solver_and_grid_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from solver_table import main

    options = "--only mixture --samples 1 --law_samples 200 --budgets 4 8 --out"
    monkeypatch.setattr(sys, "argv", ["solver_table.py", *options.split(), str(tmp_path)])
    main()
    page = (tmp_path / "results.md").read_text()
    for entry in [*of_kind("solvers"), *of_kind("grids")]:
        assert f"`{entry.name}" in page
    assert (tmp_path / "solvers_mixture.png").stat().st_size > 10_000


def test_budgets_and_kinds() -> None:
    from solver_measure import max_steps_within

    assert [max_steps_within(16, solver, CondOT()) for solver in (Euler(), Heun(), AB3())] == [16, 8, 12]
    assert [max_steps_within(2, solver, CondOT()) for solver in (Euler(), Heun(), AB3())] == [2, 1, 0]
    assert [solver.adaptive for solver in (Euler(), Dopri5())] == [False, True]


def test_ranks_and_their_correlation() -> None:
    from solver_measure import Solve
    from solver_ranking import correlation, ranks

    errors = {name: [Solve(8, 8, error)] for name, error in zip("abcd", (0.3, 0.1, 0.30001, 1e-9))}
    ranking = ranks({**errors, "none": [None]}, 0, floor=1e-6)
    assert ranking == {"a": 3.5, "b": 2, "c": 3.5, "d": 1}
    assert correlation(ranking, ranking) == pytest.approx(1)
    assert correlation(ranking, {"d": 4, "b": 3, "a": 1.5, "c": 1.5, "e": 5}) == pytest.approx(-1)


def test_errors_are_distances_to_the_solution() -> None:
    """On one Gaussian the solution is m + s x_0 (F8), and Euler's order is 1."""
    from solver_measure import Case

    from fmlab.distributions import Gaussian

    noise = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    law = Gaussian(torch.tensor([2.0], dtype=torch.float64), torch.tensor([[0.25]], dtype=torch.float64))
    case = Case("one Gaussian", law, CondOT(), noise)
    assert case.converged[0].flatten().tolist() == pytest.approx([2.0, 2.5], abs=1e-9)
    points = case.measure_within([4, 64], Euler(), UniformGrid())
    # 64 steps map 1 to 2.4885552947; the error is that of one of two samples.
    assert points[1] is not None
    assert points[1].error == pytest.approx((0.5 - 0.4885552947) / 2**0.5, rel=1e-6)
    assert case.observed_order(points) == pytest.approx(0.95, abs=0.1)
