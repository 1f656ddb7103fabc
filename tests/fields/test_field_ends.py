"""What a field is at the ends of time, on a Gaussian (fact F7) and for every kind of network."""

from __future__ import annotations

import pytest
import torch
from helpers.every_path import PATHS

from fmlab.distributions import Empirical, Gaussian
from fmlab.fields import ExactField, LearnedField
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, LinearVP, Polynomial, Posterior, Sqrt, SubVP
from fmlab.solvers import AB4, RK4, CosineGrid, Dopri5, Heun, LogSNRGrid, Midpoint, UniformGrid

MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
VARIANCE = 0.3
ZERO, ONE = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)

# alpha'(1) and the limit of beta beta' at t = 1, where beta is 0.
AT_ONE = [
    (CondOT(), 1.0, 0.0),
    (Cosine(), 0.0, 0.0),
    (Polynomial(2), 2.0, 0.0),
    (Polynomial(3), 3.0, 0.0),
    (SubVP(), 0.05, 0.0),
    (Sqrt(), 1.0, -0.5),
    (LinearVP(), 1.0, -1.0),
]


def exact(path: GaussianPath) -> ExactField:
    return ExactField(Gaussian(MEAN, VARIANCE * torch.eye(2, dtype=torch.float64)), path)


def points() -> torch.Tensor:
    return torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("path", [p for p in PATHS if p.alpha_vanishes_at_start], ids=repr)
def test_the_start_of_noise_alone(path: GaussianPath) -> None:
    """F7: v(x, 0) = alpha'(0) E[z] + beta'(0) x, s(x, 0) = -x / beta(0)^2, and x tells nothing of the data."""
    x, prediction = points(), exact(path)(points(), ZERO)
    expected = path.alpha_dot(ZERO) * MEAN + path.beta_dot(ZERO) * x
    torch.testing.assert_close(prediction.velocity, expected)
    torch.testing.assert_close(prediction.score, -x)
    torch.testing.assert_close(prediction.data, MEAN.expand_as(x))
    torch.testing.assert_close(prediction.noise, x)


@pytest.mark.parametrize(("path", "rate", "limit"), AT_ONE, ids=[repr(path) for path, *_ in AT_ONE])
def test_the_end_in_the_data(path: GaussianPath, rate: float, limit: float) -> None:
    """F7: v(x, 1) = alpha'(1) x - (beta beta')(1) s(x, 1), E[eps | x] = 0 and z(x, 1) = x.

    Where beta' is infinite the field is asked a millionth before the end, where it is as much away from the limit.
    """
    x, prediction = points(), exact(path)(points(), ONE)
    tolerance = {"rtol": 0, "atol": 1e-4} if path.beta_dot_infinite_at_end else {}
    score = -(x - MEAN) / VARIANCE
    torch.testing.assert_close(prediction.velocity, rate * x - limit * score, **tolerance)
    torch.testing.assert_close(prediction.score, score, **({"rtol": 2e-5, "atol": 2e-5} if tolerance else {}))
    torch.testing.assert_close(prediction.data, x, **({"rtol": 0, "atol": 5e-5} if tolerance else {}))
    left = path.beta(path.clip_exact(ONE))
    torch.testing.assert_close(prediction.noise, -left * score, rtol=2e-5, atol=1e-6 if tolerance else 1e-12)


@pytest.mark.parametrize(("path", "left"), [(VP(), 2e-4), (Sqrt(), 6e-4), (LinearVP(), 8.3e-4)], ids=repr)
def test_what_solvers_converge_to_is_the_data(path: GaussianPath, left: float) -> None:
    """On one data point, in float32; the field frozen at t = 0.999 left noise of 0.006, 0.018 and 0.027 an entry."""
    point, noise = torch.tensor([[0.3, -0.5]]), torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    crowded = LogSNRGrid(1e-4)(100, path)
    for solver in (Dopri5(1e-5, 1e-5), Heun(), Midpoint(), RK4(), AB4()):
        end = solver.solve(ExactField(Empirical(point), path), path.initial(noise), crowded)
        assert (end - point).square().mean().sqrt() < 1.1 * left, solver


@pytest.mark.parametrize("path", [VP(), Sqrt(), LinearVP()], ids=repr)
def test_solves_of_a_gaussian_end_at_its_closed_form(path: GaussianPath) -> None:
    """F8: the flow is affine, (x - alpha m) / sqrt(alpha^2 s^2 + beta^2) stays; in float32."""
    noise, zero = torch.randn(300, 1, generator=torch.Generator().manual_seed(1)), torch.zeros(1)
    x, alpha, beta = path.initial(noise), path.alpha(zero), path.beta(zero)
    expected = 0.5 + 0.5 * (x - alpha * 0.5) / torch.sqrt(alpha**2 * 0.25 + beta**2)
    field = ExactField(Gaussian([0.5], [[0.25]]), path)
    for solver, grid, steps in ((Dopri5(1e-6, 1e-6), UniformGrid(), 1), (RK4(), CosineGrid(), 100)):
        end = solver.solve(field, x, grid(steps, path))
        assert (end - expected).abs().max() < 2e-4, solver


def test_the_last_step_of_rk4_does_not_look_where_the_velocity_is_infinite() -> None:
    times: list[float] = []

    class Watched(ExactField):
        def evaluate(self, x: torch.Tensor, t: torch.Tensor) -> Posterior:
            times.append(float(t))
            return super().evaluate(x, t)

    for path, last in ((VP(), 0.875), (CondOT(), 1.0)):
        RK4().solve(Watched(Empirical(torch.ones(1, 2)), path), torch.ones(1, 2), UniformGrid()(2, path))
        assert max(times) == last
        times.clear()


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_both_ends_where_nothing_vanishes(path: GaussianPath) -> None:
    """F8 holds at the ends themselves where alpha and beta do not vanish there: VE, EDM, sigma_min, VP's start."""
    ends = ([] if path.alpha_vanishes_at_start else [ZERO]) + ([] if path.beta_vanishes_at_end else [ONE])
    for t in ends:
        a, b, da, db = path.alpha(t), path.beta(t), path.alpha_dot(t), path.beta_dot(t)
        x = points() * b + a * MEAN
        variance = a**2 * VARIANCE + b**2
        prediction = exact(path)(x, t)
        expected = da * MEAN + (a * da * VARIANCE + b * db) / variance * (x - a * MEAN)
        torch.testing.assert_close(prediction.velocity, expected)
        torch.testing.assert_close(prediction.score, -(x - a * MEAN) / variance)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("kind", ["velocity", "score", "noise", "data"])
def test_a_perfect_network_is_asked_where_its_output_tells_the_velocity(path: GaussianPath, kind: str) -> None:
    """Whatever it outputs, its velocity at both ends is the exact field's within what the clipped time accounts for."""

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert t.dtype == torch.float32
        return exact(path)(x, t.double()).as_kind(kind)

    for t in (ZERO, ONE):
        x = path.sample(MEAN + points(), points().flip(0), t)
        result = LearnedField(network, path, kind)(x, t)
        assert all(torch.isfinite(result.as_kind(other)).all() for other in ("velocity", "score", "noise", "data"))
        torch.testing.assert_close(result.velocity, exact(path)(x, t).velocity, rtol=1e-5, atol=0.1)
