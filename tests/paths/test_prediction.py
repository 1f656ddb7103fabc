"""Conversions against pairs whose noise and data are known (facts F3-F7)."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers.every_path import PATHS

from fmlab.distributions import Gaussian
from fmlab.errors import UserError
from fmlab.paths import (
    VP,
    CondOT,
    Cosine,
    FlowAndScore,
    GaussianPath,
    Interpolant,
    Kind,
    LinearVP,
    PathPrediction,
    Posterior,
    Prediction,
    Sqrt,
    expand_time,
)

KINDS: tuple[Kind, ...] = ("velocity", "score", "noise", "data")


def truth(path: GaussianPath, data: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> dict[str, torch.Tensor]:
    """The four conditional quantities from their definitions, not from each other."""
    s = expand_time(t, data)
    return {
        "velocity": path.alpha_dot(s) * data + path.beta_dot(s) * noise,
        "score": -noise / path.beta(s),
        "noise": noise,
        "data": data,
    }


def convert(path: GaussianPath, x: torch.Tensor, t: torch.Tensor, given: Kind, value: torch.Tensor, asked: Kind):
    return Prediction(path, x, t, given, value).as_kind(asked)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("event", [(2,), (3, 4), (2, 3, 3)], ids=str)
def test_every_conversion_recovers_the_pair(path: GaussianPath, event: tuple[int, ...]) -> None:
    """F3-F5: any quantity of a pair gives the other three, for every rank of x and shape of t."""
    torch.manual_seed(0)
    data, noise = torch.randn(2, 9, *event, dtype=torch.float64)
    for t in (torch.linspace(0.02, 0.98, 9, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)):
        expected, x = truth(path, data, noise, t), path.sample(data, noise, t)
        for given, asked in itertools.product(KINDS, KINDS):
            result = convert(path, x, t, given, expected[given], asked)
            torch.testing.assert_close(result, expected[asked], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_round_trips_in_float64(path: GaussianPath) -> None:
    """F6: the 12 ordered pairs there and back, of values that belong to no pair at all."""
    torch.manual_seed(1)
    x, value = torch.randn(2, 97, 8, dtype=torch.float64)
    t = torch.linspace(0.02, 0.98, 97, dtype=torch.float64)
    for given, through in itertools.permutations(KINDS, 2):
        back = convert(path, x, t, through, convert(path, x, t, given, value, through), given)
        torch.testing.assert_close(back, value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_float32_round_trips_within_their_condition_number(path: GaussianPath) -> None:
    """F6: each conversion is affine, b x + a value; rounding is amplified by the sizes of what is added, no more."""
    torch.manual_seed(1)
    data, noise = torch.randn(2, 64, 8, dtype=torch.float64)
    one, zero = torch.ones(64, 1, dtype=torch.float64), torch.zeros(64, 1, dtype=torch.float64)
    for times in (torch.linspace(0.02, 0.98, 64), torch.full((64,), 0.02)):
        t = times.double()
        x, expected = path.sample(data, noise, t), truth(path, data, noise, t)
        for given, through in itertools.permutations(KINDS, 2):
            terms = [
                convert(path, *point, given, value, through).abs() for *point, value in ((one, t, zero), (zero, t, one))
            ]
            back = [
                convert(path, *point, through, value, given).abs() for *point, value in ((one, t, zero), (zero, t, one))
            ]
            size = terms[0] * x.abs() + terms[1] * expected[given].abs()
            condition = back[0] * x.abs() + 2 * back[1] * size
            single = x.float(), times
            other = convert(path, *single, given, expected[given].float(), through)
            error = convert(path, *single, through, other, given) - expected[given].float()
            assert (error.abs() < 1e-6 * condition).all(), (given, through, (error.abs() / condition).max())


@pytest.mark.parametrize("shape", [(), (5,), (5, 1, 1, 1)], ids=str)
def test_time_broadcasts_in_every_shape(shape: tuple[int, ...]) -> None:
    data, noise = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64)
    t = torch.full(shape, 0.25, dtype=torch.float64)
    path = Cosine()
    x = path.sample(data, noise, t)
    torch.testing.assert_close(x, path.alpha(t.flatten()[:1]) * data + path.beta(t.flatten()[:1]) * noise)
    torch.testing.assert_close(Prediction(path, x, t, "noise", noise).data, data)


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


def shared(path: GaussianPath, t: torch.Tensor) -> tuple[torch.Tensor, PathPrediction, PathPrediction]:
    """A point and two things known of it, a posterior and a prediction, from two pairs that x may come from."""
    x, first, second = torch.randn(3, len(t), 4, dtype=torch.float64)
    s = expand_time(t, x)
    noise = (x - path.alpha(s) * first) / path.beta(s)
    return x, Posterior(path, x, t, first, noise), Prediction(path, x, t, "data", second)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_posterior_agrees_with_the_conversions(path: GaussianPath) -> None:
    """F3: data and noise given, velocity and score are those of either alone; mixed with another, so is the mixture."""
    torch.manual_seed(2)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    x, posterior, other = shared(path, t)
    mixed = posterior.mix(other, 2.5)
    for kind in KINDS:
        alone = Prediction(path, x, t, "data", posterior.data).as_kind(kind)
        torch.testing.assert_close(posterior.as_kind(kind), alone, rtol=1e-10, atol=1e-10)
        expected = -1.5 * posterior.as_kind(kind) + 2.5 * other.as_kind(kind)
        torch.testing.assert_close(mixed.as_kind(kind), expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(other.mix(posterior, -1.5).as_kind(kind), expected, rtol=1e-10, atol=1e-10)


def test_a_posteriors_own_score_is_kept_and_mixed() -> None:
    """A score that is known without dividing by beta is given back as it is, at t = 1 too, and guided like the rest."""
    x, data, score, second = torch.randn(4, 5, 3, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    first = Posterior(CondOT(), x, one, data, torch.zeros_like(x), score)
    assert first.score is score
    mixed = first.mix(Posterior(CondOT(), x, one, data, torch.zeros_like(x), second), 3.0)
    torch.testing.assert_close(mixed.score, -2 * score + 3 * second)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_ends_of_time_of_a_posterior(path: GaussianPath) -> None:
    """F7: nothing is 0/0, and where beta' is finite the velocity is alpha' z + beta' eps at the very ends."""
    torch.manual_seed(3)
    data, noise = torch.randn(2, 6, 2, dtype=torch.float64)
    for time in (0.0, 1.0):
        t = torch.tensor(time, dtype=torch.float64)
        posterior = Posterior(path, path.sample(data, noise, t), t, data, noise)
        assert all(torch.isfinite(posterior.as_kind(kind)).all() for kind in KINDS)
        if not path.beta_dot_infinite_at_end:
            torch.testing.assert_close(posterior.velocity, path.alpha_dot(t) * data + path.beta_dot(t) * noise)
    torch.testing.assert_close(posterior.data, data)
    torch.testing.assert_close(posterior.noise, noise)


@pytest.mark.parametrize("path", [Sqrt(), VP(), LinearVP(), Interpolant(sigma=0.5), Cosine()], ids=repr)
def test_flow_and_score_are_mixed_and_seen_apart(path) -> None:
    """A velocity and its own score: the noise follows from the score, the data (on a Gaussian path) from the flow."""
    x, flow, score, flow2, score2 = torch.randn(5, 4, 3, dtype=torch.float64)
    t = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
    first, second = FlowAndScore(path, x, t, flow, score), FlowAndScore(path, x, t, flow2, score2)
    mixed = first.mix(second, 1.5)
    torch.testing.assert_close(mixed.velocity, 1.5 * flow2 - 0.5 * flow)
    torch.testing.assert_close(mixed.score, 1.5 * score2 - 0.5 * score)
    torch.testing.assert_close(mixed.noise, 1.5 * second.noise - 0.5 * first.noise)
    torch.testing.assert_close(-first.noise / path.noise_scale(t)[:, None], score)
    if isinstance(path, GaussianPath):
        s = t[:, None]
        torch.testing.assert_close(
            path.alpha_dot(s) * first.data + path.beta_dot(s) * (x - path.alpha(s) * first.data) / path.beta(s), flow
        )
    else:
        with pytest.raises(UserError, match="not Gaussian"):
            _ = first.data
    without = FlowAndScore(path, x, t, flow)
    torch.testing.assert_close(without.mix(second, 0.25).velocity, 0.75 * flow + 0.25 * flow2)
    for unknown in (without, without.mix(second, 0.25)):
        with pytest.raises(UserError, match="no score head"):
            _ = unknown.score
