"""A diagnosis of networks on a mixture, where model error, solver error and memorisation are known."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.known_subjects import mixture, subject, training_set
from torch import Tensor

from fmlab.diagnosis.diagnose import diagnose
from fmlab.diagnosis.solver import Need, converge, measure_solver, remaining_distance
from fmlab.diagnosis.subject import Subject
from fmlab.distributions import Gaussian
from fmlab.fields import ExactField, gaussian_start
from fmlab.paths import CondOT
from fmlab.solvers import RK4, Dopri5, Euler, Heun, Solver, UniformGrid


def ends(example: Subject, solver: Solver, steps: int) -> Tensor:
    """Where the exact field of the data's own law leads from the subject's seeds, in float64."""
    noise = gaussian_start(range(example.seed, example.seed + example.pairs), (2,), "cpu").double()
    field = ExactField(example.data.distribution, CondOT())
    return solver.solve(field, noise, UniformGrid()(steps, CondOT()))


def test_a_perfect_network_at_two_steps_has_solver_error_alone() -> None:
    """(a) Its excess is 0; the solver error is that of the exact field in float64; so the solver comes first."""
    example = subject(mixture(), n=600)
    diagnosis = diagnose(example)
    assert diagnosis.unknown == {}
    model, solver, converged = diagnosis.findings.model, diagnosis.findings.solver, diagnosis.findings.converged
    assert model is not None
    assert model.relative < 1e-10
    assert max(mean.value for mean in model.means.by_bin("excess") if mean.draws) < 1e-10
    exact = ends(example, Dopri5(1e-10, 1e-10, 100_000), 1)
    assert solver is not None
    assert converged is not None
    assert converged.settled
    # The bound is the distance from half the steps: three times the error of a second-order method.
    assert (converged.samples - exact).square().mean().sqrt().item() < converged.bound
    for solve in solver.scan:
        expected = (ends(example, Euler(), solve.steps) - exact).square().mean().sqrt().item()
        assert solve.error == pytest.approx(expected, rel=0.02, abs=converged.bound)
        assert solve.nfe == solve.steps
    assert [solve.steps for solve in solver.scan] == [1, 2, 4, 8, 16, 32]
    heun = (ends(example, Heun(), 1) - exact).square().mean().sqrt().item()
    assert solver.others["Heun"].error == pytest.approx(heun, rel=0.02)
    assert diagnosis.verdict.first == "solver"
    assert diagnosis.findings.neighbours is not None
    assert 0.6 < diagnosis.findings.neighbours.summary.ratio < 1.5


def test_a_perfect_network_with_a_good_solver_is_left_alone() -> None:
    diagnosis = diagnose(subject(mixture(), solver=RK4(), steps=12))
    assert diagnosis.verdict.first == "nothing"
    distances = diagnosis.findings.distances
    assert distances is not None
    assert distances.part("own", "converged").mean == pytest.approx(0, abs=0.01)
    assert distances.part("converged", "real").mean == pytest.approx(0, abs=2 * distances.value("real").error)


def test_a_wrong_network_comes_first_whatever_the_solver() -> None:
    """(b) A velocity off by c has the excess c^2 an entry, and every sample is off by c."""
    example = subject(mixture(), wrong=0.5, solver=RK4(), steps=12)
    diagnosis = diagnose(example)
    model, distances, converged = (getattr(diagnosis.findings, name) for name in ("model", "distances", "converged"))
    assert model.means.overall("excess").value == pytest.approx(0.25, rel=1e-5)
    assert model.relative == pytest.approx(0.25 / model.means.overall("size").value, rel=1e-5)
    moved = converged.samples - ends(example, Dopri5(1e-10, 1e-10, 100_000), 1)
    assert moved.mean().item() > 0.4
    assert diagnosis.verdict.first == "network"
    assert distances.part("converged", "real").mean > 0.3
    assert abs(distances.part("own", "converged").mean) < 0.01
    assert "Change the network first" in diagnosis.verdict.text


def test_a_network_that_copies_its_training_set_is_found_out() -> None:
    """(c) The exact field of 60 points draws these points: its distance from real data says nothing of it."""
    data = mixture(train_size=60)
    diagnosis = diagnose(subject(data, training_set(data), solver=Heun(), steps=20))
    neighbours = diagnosis.findings.neighbours
    assert neighbours is not None
    assert neighbours.summary.ratio < 0.1
    assert neighbours.summary.share > 0.9
    assert diagnosis.verdict.first == "data"
    assert "copies" in diagnosis.verdict.text


def test_guidance_of_a_perfect_network_is_too_much() -> None:
    """Guided samples leave the law of the data; the same network unguided is at the floor."""
    data = mixture(labelled=True)
    diagnosis = diagnose(subject(data, solver=RK4(), steps=12, guidance_scale=4.0))
    assert diagnosis.findings.other_scale == 1.0
    assert diagnosis.verdict.first == "guidance"
    assert "at scale 4" in diagnosis.verdict.text
    untrained = diagnose(subject(data, solver=RK4(), steps=12, label_dropout=0.0))
    assert untrained.findings.other_scale is None
    assert untrained.verdict.first == "nothing"


def test_the_error_of_euler_on_a_gaussian_is_known() -> None:
    """F8: for N(2, 0.5^2) two Euler steps give 2 + 0.2 eps where the flow gives 2 + 0.5 eps."""
    data = mixture()
    data.distribution = Gaussian(torch.full((2,), 2.0), 0.25 * torch.eye(2))
    example = subject(data)
    converged = converge(example)
    noise = gaussian_start(range(example.seed, example.seed + example.pairs), (2,), "cpu")
    torch.testing.assert_close(converged.samples, 2 + 0.5 * noise, atol=2 * converged.bound, rtol=0)
    assert converged.spread == pytest.approx(math.sqrt(2) * 0.5 * noise.var(0).mean().sqrt().item(), rel=1e-2)
    solver = measure_solver(example, converged)
    assert solver.own.error == pytest.approx(0.3 * noise.square().mean().sqrt().item(), rel=1e-2)
    # After 8 and 16 steps the slopes are .4147845545 and .4556830934; a straight line in the logarithms between them.
    size = noise.square().mean().sqrt().item()
    coarse, fine, limit = 0.5 - 0.4147845545, 0.5 - 0.4556830934, converged.spread / 10 / size
    assert coarse > limit > fine
    between = 8 * 2 ** (math.log(coarse / limit) / math.log(coarse / fine))
    assert solver.need(converged.spread / 10) == Need(math.ceil(between), "about")


def test_slow_convergence_is_not_called_converged() -> None:
    """At order 1/2 all further doublings together move a solve by 2.4 times what the last one did."""
    assert remaining_distance(0.01, 0.04) == 0.01
    assert remaining_distance(0.01, math.inf) == 0.01
    assert remaining_distance(0.0, 0.0) == 0.0
    assert remaining_distance(0.01, 0.01 * 2**0.5) == pytest.approx(0.01 / (2**0.5 - 1))
    assert remaining_distance(0.02, 0.01) == math.inf
