"""What a field is at the ends of time, on a Gaussian (fact F7) and for every kind of network."""

from __future__ import annotations

import pytest
import torch
from helpers.every_path import PATHS

from fmlab.distributions import Gaussian
from fmlab.fields import ExactField, LearnedField
from fmlab.paths import CondOT, Cosine, GaussianPath, LinearVP, Polynomial, Sqrt, SubVP

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

    Where beta' is infinite the field is asked 0.001 before the end, where it is as much away from the limit.
    """
    x, prediction = points(), exact(path)(points(), ONE)
    tolerance = {"rtol": 0, "atol": 0.1} if path.beta_dot_infinite_at_end else {}
    score = -(x - MEAN) / VARIANCE
    torch.testing.assert_close(prediction.velocity, rate * x - limit * score, **tolerance)
    torch.testing.assert_close(prediction.score, score, **({"rtol": 0.02, "atol": 0.02} if tolerance else {}))
    torch.testing.assert_close(prediction.data, x, **({"rtol": 0, "atol": 0.05} if tolerance else {}))
    left = path.beta(path.clip(ONE, "velocity"))
    torch.testing.assert_close(prediction.noise, -left * score, rtol=0.02, atol=1e-3 if tolerance else 1e-12)


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
