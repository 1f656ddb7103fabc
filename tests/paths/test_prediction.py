"""Conversions against pairs whose noise and data are known (facts F3-F7)."""

from __future__ import annotations

import itertools

import pytest
import torch

from fmlab.distributions import Gaussian
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, Polynomial, Prediction, expand_time

PATHS = [CondOT(), Cosine(), VP(), Polynomial(2), Polynomial(3)]
KINDS = ("velocity", "score", "noise", "data")


def truth(path: GaussianPath, data: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> dict[str, torch.Tensor]:
    """The four conditional quantities from their definitions, not from each other."""
    s = expand_time(t, data)
    return {
        "velocity": path.alpha_dot(s) * data + path.beta_dot(s) * noise,
        "score": -noise / path.beta(s),
        "noise": noise,
        "data": data,
    }


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize(("given", "asked"), list(itertools.product(KINDS, KINDS)))
@pytest.mark.parametrize("event", [(2,), (3, 4), (2, 3, 3)], ids=str)
def test_every_conversion_recovers_the_pair(path: GaussianPath, given: str, asked: str, event: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    data, noise = torch.randn(2, 9, *event, dtype=torch.float64)
    for t in (torch.linspace(0.02, 0.98, 9, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)):
        expected = truth(path, data, noise, t)
        prediction = Prediction(path, path.sample(data, noise, t), t, given, expected[given])
        torch.testing.assert_close(getattr(prediction, asked), expected[asked], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (5,), (5, 1, 1, 1)], ids=str)
def test_time_broadcasts_in_every_shape(shape: tuple[int, ...]) -> None:
    data, noise = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64)
    t = torch.full(shape, 0.25, dtype=torch.float64)
    path = Cosine()
    x = path.sample(data, noise, t)
    torch.testing.assert_close(x, path.alpha(t.flatten()[:1]) * data + path.beta(t.flatten()[:1]) * noise)
    torch.testing.assert_close(Prediction(path, x, t, "noise", noise).data, data)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_float32_round_trips_within_their_condition_number(path: GaussianPath) -> None:
    torch.manual_seed(1)
    data, noise = torch.randn(2, 64, 8)
    t = torch.linspace(0.1, 0.95, 64)
    expected = truth(path, data, noise, t)
    s = expand_time(t, data).double()
    condition = (
        (1 + 1 / path.alpha(s))
        * (1 + 1 / path.beta(s))
        * (1 + 1 / path.wronskian(s))
        * (1 + path.alpha_dot(s) + path.beta_dot(s).abs())
    )
    for given, through in itertools.permutations(KINDS, 2):
        x = path.sample(data, noise, t)
        other = getattr(Prediction(path, x, t, given, expected[given]), through)
        back = getattr(Prediction(path, x, t, through, other), given)
        error = (back - expected[given]).abs() / (1 + expected[given].abs())
        assert (error < 2e-6 * condition).all(), (given, through, (error / condition).max())


def test_known_formulas_on_the_straight_path() -> None:
    """F5: z = x + (1 - t) v, eps = x - t v, score = (t v - x) / (1 - t)."""
    x, v = torch.randn(2, 4, 3, dtype=torch.float64)
    t = torch.tensor([0.1, 0.4, 0.7, 0.9], dtype=torch.float64)
    prediction = Prediction(CondOT(), x, t, "velocity", v)
    s = t[:, None]
    torch.testing.assert_close(prediction.data, x + (1 - s) * v)
    torch.testing.assert_close(prediction.noise, x - s * v)
    torch.testing.assert_close(prediction.score, (s * v - x) / (1 - s))


@pytest.mark.parametrize("path", [CondOT(), Cosine()], ids=repr)
def test_ends_of_time(path: GaussianPath) -> None:
    """F7: with v(x, 0) = alpha' E[z] + beta' x the data prediction is E[z], the score -x; at t = 1 z(x, 1) = x."""
    mean, x = torch.randn(2, 6, 2, dtype=torch.float64)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    start = Prediction(path, x, zero, "velocity", path.alpha_dot(zero) * mean + path.beta_dot(zero) * x)
    torch.testing.assert_close(start.data, mean)
    torch.testing.assert_close(start.score, -x)
    end = Prediction(path, x, one, "velocity", path.alpha_dot(one) * x)
    torch.testing.assert_close(end.data, x)
    torch.testing.assert_close(end.noise, torch.zeros_like(x), rtol=0, atol=1e-12)
    for kind, t in itertools.product(KINDS, (zero, one)):
        values = Prediction(path, x, t, kind, mean)
        assert all(torch.isfinite(getattr(values, other)).all() for other in KINDS), kind


def test_score_near_the_start_is_evaluated_where_it_knows_the_velocity() -> None:
    """A perfect score network at t = 0 gives the velocity E[z] - x within the clipped time, not 0 / 0."""
    law = Gaussian(torch.tensor([2.0], dtype=torch.float64), torch.tensor([[0.25]], dtype=torch.float64))
    path, x = CondOT(), torch.randn(100, 1, dtype=torch.float64)
    t = path.clip(torch.zeros((), dtype=torch.float64), "score")
    score = law.diffused(path.alpha(t).item(), path.beta(t).item()).score(x)
    velocity = Prediction(path, x, t, "score", score).velocity
    torch.testing.assert_close(velocity, 2 - x, rtol=0, atol=0.05)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_conditional_velocity_and_score_agree_with_the_pair(path: GaussianPath) -> None:
    data, noise = torch.randn(2, 5, 3, dtype=torch.float64)
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    x = path.sample(data, noise, t)
    torch.testing.assert_close(path.conditional_velocity(x, data, t), path.pair_velocity(data, noise, t))
    torch.testing.assert_close(path.conditional_score(x, data, t), -noise / path.beta(expand_time(t, noise)))


def test_mixing_commutes_with_conversion() -> None:
    """F21: guiding velocity, score, noise or data with one weight is one and the same."""
    path, t = Cosine(), torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    x, first, second = torch.randn(3, 3, 4, dtype=torch.float64)
    null, label = Prediction(path, x, t, "noise", first), Prediction(path, x, t, "data", second)
    mixed = null.mix(label, 2.5)
    for kind in KINDS:
        torch.testing.assert_close(getattr(mixed, kind), -1.5 * getattr(null, kind) + 2.5 * getattr(label, kind))
