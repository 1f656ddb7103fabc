"""What the parts of a diagnosis say by themselves, and of what they cannot know."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.known_subjects import mixture, subject
from torch import nn

from fmlab.data import Digits, Toy2D
from fmlab.diagnosis.diagnose import diagnose
from fmlab.diagnosis.distance import measure_distances
from fmlab.diagnosis.memorisation import measure_neighbours
from fmlab.diagnosis.model import recent_fall
from fmlab.diagnosis.solver import (
    Need,
    converge,
    forwards_for,
    measure_solver,
    scan_steps,
)
from fmlab.diagnosis.subject import Subject
from fmlab.distributions import EightGaussians, Gaussian
from fmlab.errors import UserError
from fmlab.fields import Sampling, count_evaluations, max_steps_within
from fmlab.figures.convergence import Solve
from fmlab.metrics.gaussian_distance import frechet_distance
from fmlab.metrics.network import RandomFeatures
from fmlab.networks import MLP
from fmlab.paths import VE, VP, CondOT, Interpolant
from fmlab.random import Purpose, fixed_generator
from fmlab.records import RunLayout
from fmlab.solvers import AB2, RK4, Dopri5, DPMSolverPP2S, Euler, EulerMaruyama, Heun, ListGrid, UniformGrid
from fmlab.training.exact_law import exact_law, nearest_law
from fmlab.training.generative_module import FlowMatching


def powers(order: float, counts: list[int]) -> list[Solve]:
    return [Solve(n, 2 * n, n**-order) for n in counts]


def test_needed_forwards_follow_a_power_law() -> None:
    """An error steps^-p falls below e at e^(-1/p) steps, here of two forwards each."""
    scan = powers(2, [4, 8, 16])
    assert forwards_for(scan, 0.1) == Need(8, "at most")
    assert forwards_for(scan, 10.0**-2) == Need(20, "about")
    assert forwards_for(scan, 1 / 100**2) == Need(200, "extrapolated")
    assert forwards_for(scan[:1], 1e-3) is None
    flat = [Solve(4, 4, 0.2), Solve(8, 8, 0.19)]
    assert forwards_for(flat, 0.01) is None, "what steps do not change, more of them do not promise to"


def test_what_a_solver_costs_and_what_a_budget_buys() -> None:
    """F12: Euler 1, Heun 2 but for its last step, RK4 4, AB2 1 after a start of 2."""
    path = CondOT()
    assert [count_evaluations(solver, 5, path) for solver in (Euler(), Heun(), RK4(), AB2())] == [5, 9, 20, 6]
    assert [max_steps_within(20, solver, path) for solver in (Euler(), Heun(), RK4(), AB2())] == [20, 10, 5, 19]
    assert [max_steps_within(2, solver, path) for solver in (Heun(), RK4())] == [1, 0]
    at_ends = [count_evaluations(DPMSolverPP2S(), 5, path) for path in (CondOT(), VP(), VE())]
    assert at_ends == [8, 9, 10], "one less at each end of infinite log-SNR"
    assert count_evaluations(Heun(), 5, Interpolant()) == 9


def test_the_scan_holds_the_runs_own_steps() -> None:
    assert scan_steps(20) == [5, 10, 20, 40, 80]
    assert scan_steps(2) == [1, 2, 4, 8, 16, 32]
    assert scan_steps(1) == [1, 2, 4, 8, 16, 32]


def test_seeds_and_labels_are_the_same_for_every_solve() -> None:
    example = subject(mixture(labelled=True), n=50, batch_size=16)
    first, nfe = example.solve(example.sampling, 50)
    assert nfe == 2
    torch.testing.assert_close(example.solve(example.sampling, 20)[0], first[:20])
    labels, frequencies = example.labels(50), example.data.label_frequencies()
    assert labels is not None
    assert (labels.bincount(minlength=3) / 50 - frequencies).abs().max() < 0.25
    assert not torch.equal(example.solve(example.sampling, 20, 0.0)[0], first[:20])


def test_an_adaptive_and_a_noisy_solver() -> None:
    example = subject(mixture(), solver=Dopri5())
    converged = converge(example)
    solver = measure_solver(example, converged)
    assert solver.scan == [solver.own]
    assert solver.own.error < converged.unit
    assert solver.own.nfe > 10
    noisy = diagnose(subject(mixture(), solver=EulerMaruyama(), steps=40))
    assert noisy.unknown.keys() == {"solver"}
    assert "adds noise" in noisy.unknown["solver"]
    assert noisy.findings.distances is not None


def test_a_grid_that_cannot_be_refined_is_refined_uniformly() -> None:
    example = subject(mixture(), steps=3)
    example.sampling = replace(example.sampling, grid=ListGrid([0.2, 0.6]))
    converged = converge(example)
    assert converged.settled
    torch.testing.assert_close(converged.samples, converge(subject(mixture())).samples)
    solver = measure_solver(example, converged)
    assert [solve.steps for solve in solver.scan] == [3]


def test_the_law_of_the_data_comes_before_their_examples() -> None:
    module = FlowMatching(nn.Identity())
    data, moons = mixture(), Toy2D("moons", train_size=50, validation_size=10)
    assert nearest_law(module, data, "here") is data.distribution
    assert type(nearest_law(module, moons, "here")) is type(exact_law(module, moons, "here"))
    with pytest.raises(UserError, match="source is not Gaussian noise"):
        nearest_law(FlowMatching(nn.Identity(), source=EightGaussians()), data, "here")


def test_another_source_leaves_the_model_error_unknown_and_goes_on() -> None:
    data = mixture()
    module = FlowMatching(MLP((2,), width=8, depth=1), source=EightGaussians())
    diagnosis = diagnose(Subject(module, data, Sampling(Heun(), 5, UniformGrid()), n=100))
    assert diagnosis.unknown == {"model": "the exact field is not known: the source is not Gaussian noise"}
    record = diagnosis.record()
    assert record["unknown"] == diagnosis.unknown
    assert "model" not in record
    assert record["solver"]["own"]["nfe"] == 9


def test_too_few_examples_leave_sets_unknown() -> None:
    diagnosis = diagnose(subject(mixture(train_size=15, validation_size=15), solver=RK4(), steps=12))
    assert diagnosis.unknown.keys() == {"distances", "neighbours"}
    assert diagnosis.verdict.first == "nothing"
    coarse = diagnose(subject(mixture(train_size=15, validation_size=15)))
    assert coarse.verdict.first == "solver", "without a distance between sets, the way of the samples tells"
    wrong = diagnose(subject(mixture(train_size=15, validation_size=15), solver=RK4(), steps=12, wrong=0.5))
    assert wrong.verdict.first == "network"


class Unbounded(nn.Module):
    """A field that leads to infinity."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: Any = None) -> torch.Tensor:
        return 1e30 * x**3


def test_samples_that_are_not_finite_are_reported() -> None:
    example = Subject(FlowMatching(Unbounded()), mixture(), Sampling(Euler(), 4, UniformGrid()))
    diagnosis = diagnose(example)
    assert "not finite" in diagnosis.unknown["converged"]
    assert diagnosis.verdict.first == "network"


def test_bad_numbers_are_refused() -> None:
    for changes, key in (({"n": 1}, "n"), ({"pairs": 1}, "pairs"), ({"batch_size": 0}, "batch_size")):
        with pytest.raises(UserError) as caught:
            subject(mixture(), **changes)
        assert caught.value.key == key


# Images ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def digits() -> Subject:
    data = Digits(limit=60, flip=True)
    module = FlowMatching(MLP((1, 8, 8), num_classes=10, width=8, depth=1), num_classes=10)
    return Subject(module, data, Sampling(Euler(), 2, UniformGrid()), n=20, pairs=4)


def as_samples(images: torch.Tensor) -> torch.Tensor:
    return images / 127.5 - 1


def test_neighbours_of_images_include_their_mirror_images(digits: Subject) -> None:
    images = digits.data.split("train").x
    mirrored = measure_neighbours(digits, as_samples(images.flip(-1)))
    assert mirrored.summary.ratio == 0
    assert torch.equal(mirrored.nearest, images.flip(-1))
    other = measure_neighbours(digits, as_samples(digits.data.split("validation").x))
    assert other.summary.ratio == 1
    assert len(other.held_out) == 360


def test_distances_of_images_are_frechet_distances_of_halves(digits: Subject) -> None:
    """The floor is that of two halves; a set of the same size is measured against the same half."""
    images = digits.data.split("train").x
    sets = {"own": as_samples(images[:30]), "converged": as_samples(images[30:])}
    distances = measure_distances(digits, sets, "random")
    assert (distances.key, distances.n) == ("val/fid_random", 30)
    values = []
    for index in range(4):
        rows = torch.randperm(60, generator=fixed_generator(20_261_125, Purpose.ORDER, index))
        network = RandomFeatures((1, 8, 8))
        first, second = (network(images[half]).double() for half in (rows[:30], rows[30:]))
        values.append(float(frechet_distance(second.mean(0), second.T.cov(), first.mean(0), first.T.cov())))
    assert distances.values["real"] == pytest.approx(values, rel=1e-6)
    part = distances.part("own", "converged")
    differences = torch.tensor(distances.values["own"]) - torch.tensor(distances.values["converged"])
    assert part.mean == pytest.approx(differences.mean().item(), abs=1e-5)
    assert part.error == pytest.approx(differences.std().item(), abs=1e-5)


# The log of training --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "floor", "share"),
    [([8, 7, 6, 5, 4, 3, 2, 1], 0.0, 4 / 7), ([8, 7, 6, 5, 4, 3, 2, 1], 0.5, 2 / 3), ([1] * 8, 0.0, 0.0)],
)
def test_how_the_excess_fell_in_the_last_quarter(
    losses: list[float], floor: float, share: float, tmp_path: Path
) -> None:
    """Steps at a learning rate below half of the largest do not count, nor do rows of validation."""
    rates = [0.5, *[1.0] * 6, 0.5, 0.4, 0.1]
    rows = "".join(f"{step},{loss},{rate},\n" for step, (loss, rate) in enumerate(zip([*losses, 99, 99], rates)))
    (tmp_path / "metrics.csv").write_text(f"step,train/loss,train/lr,val/loss\n{rows}9,,,3.0\n")
    assert recent_fall(RunLayout(tmp_path), floor) == pytest.approx(share)
    assert recent_fall(RunLayout(tmp_path), 100.0) is None
    assert recent_fall(RunLayout(tmp_path / "elsewhere"), 0.0) is None
    (tmp_path / "metrics.csv").write_text("step,train/loss\n1,5\n2,4\n3,3\n")
    assert recent_fall(RunLayout(tmp_path), floor) is None


def test_the_size_of_a_field_is_known() -> None:
    """E |u|^2 of N(m, s^2) on the straight path is m^2 + (t s^2 - 1 + t)^2 / (t^2 s^2 + (1 - t)^2)."""
    data = mixture()
    data.distribution = Gaussian(torch.full((2,), 2.0), 0.25 * torch.eye(2))
    diagnosis = diagnose(subject(data, solver=RK4(), steps=12))
    assert diagnosis.findings.model is not None
    for index, mean in enumerate(diagnosis.findings.model.means.by_bin("size")):
        times = torch.linspace(index / 10, (index + 1) / 10, 101, dtype=torch.float64)
        expected = 4 + (0.25 * times - 1 + times) ** 2 / (0.25 * times**2 + (1 - times) ** 2)
        assert mean.value == pytest.approx(expected.mean().item(), abs=4 * mean.error)
        assert math.isfinite(mean.error)
