"""Learned, exact and guided fields (facts F8, F20, F21)."""

from __future__ import annotations

import pytest
import torch

from fmlab.distributions import Gaussian
from fmlab.errors import UserError
from fmlab.fields import ExactField, GuidedField, LearnedField, Sampling, collect, generate, guided
from fmlab.paths import VP, CondOT, Cosine, Polynomial
from fmlab.solvers import Euler, EulerMaruyama, Heun, UniformGrid


def tiny(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
    """A network by hand: the label shifts the output, no label does not."""
    shift = torch.zeros(len(x)) if condition is None else condition.float() + 1
    return x * t[:, None] + shift[:, None]


def law(mean: list[float], variance: float) -> Gaussian:
    return Gaussian(torch.tensor(mean, dtype=torch.float64), variance * torch.eye(len(mean), dtype=torch.float64))


@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP(), Polynomial(2)], ids=repr)
def test_exact_field_of_a_gaussian(path) -> None:
    """F8: v = alpha' m + (alpha alpha' S + beta beta') Sigma^-1 (x - alpha m), Sigma = alpha^2 S + beta^2."""
    x = torch.randn(6, 2, dtype=torch.float64)
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    for time in (0.1, 0.5, 0.9):
        t = torch.tensor(time, dtype=torch.float64)
        a, b, da, db = path.alpha(t), path.beta(t), path.alpha_dot(t), path.beta_dot(t)
        variance = a**2 * 0.3 + b**2
        velocity = da * mean + (a * da * 0.3 + b * db) / variance * (x - a * mean)
        field = ExactField(law([1.0, -2.0], 0.3), path)
        torch.testing.assert_close(field(x, t).velocity, velocity)
        torch.testing.assert_close(field(x, t.expand(6)).velocity, velocity)
        torch.testing.assert_close(field(x, t).score, -(x - a * mean) / variance)


def test_guidance_scale_convention() -> None:
    """F20: 0 is unconditional, 1 conditional, and in between and beyond linear."""
    x, t = torch.randn(4, 3), torch.tensor(0.3)
    field = LearnedField(tiny, CondOT(), "velocity", torch.tensor([0, 1, 2, 3]))
    conditional, null = field(x, t).velocity, field.unconditional()(x, t).velocity
    for scale in (0.0, 0.5, 1.0, 2.0, 4.0):
        expected = (1 - scale) * null + scale * conditional
        torch.testing.assert_close(guided(field, scale)(x, t).velocity, expected)


def test_guided_gaussians_are_the_tilted_score() -> None:
    """F21: the guided score is that of p_y^w p_null^(1-w) at each t."""
    path, t, w = CondOT(), torch.tensor(0.6, dtype=torch.float64), 2.5
    x = torch.randn(5, 2, dtype=torch.float64)
    y, null = law([1.0, 0.0], 0.2), law([0.0, 0.0], 1.0)
    field = GuidedField(ExactField(y, path), ExactField(null, path), w)
    a, b = 0.6, 0.4
    precision = w / (a**2 * 0.2 + b**2) - (w - 1) / (a**2 + b**2)
    mean = (w / (a**2 * 0.2 + b**2)) * a * torch.tensor([1.0, 0.0], dtype=torch.float64) / precision
    torch.testing.assert_close(field(x, t).score, -precision * (x - mean))


def test_evaluations_count_both_forwards_of_a_guided_step() -> None:
    x, labels = torch.randn(4, 3), torch.arange(4)
    for scale, expected in ((0.0, 5), (1.0, 5), (2.0, 10)):
        field = guided(LearnedField(tiny, CondOT(), "velocity", labels), scale)
        Euler().solve(field, x, UniformGrid()(5, field.path))
        assert field.nfe == expected
    field.nfe = 0
    assert field.nfe == 0


def test_guidance_without_a_condition_is_refused() -> None:
    with pytest.raises(UserError, match="without labels"):
        guided(LearnedField(tiny, CondOT()), 2.0)
    assert guided(LearnedField(tiny, CondOT()), 1.0)(torch.zeros(1, 3), torch.tensor(0.5)).velocity.shape == (1, 3)


def test_a_network_never_sees_a_time_where_its_output_says_nothing() -> None:
    """Noise and score near t = 0, data near t = 1: the network is asked at the clipped time, in float32."""
    seen = []

    def spy(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t)
        return torch.zeros_like(x)

    x = torch.zeros(2, 1)
    for kind, time in (("noise", 0.0), ("score", 0.0), ("data", 1.0), ("velocity", 0.0), ("velocity", 1.0)):
        LearnedField(spy, CondOT(), kind)(x, torch.tensor(time))
    assert [round(t[0].item(), 4) for t in seen] == [0.01, 0.01, 0.999, 0.0, 1.0]
    assert all(t.dtype == torch.float32 and t.shape == (2,) for t in seen)


@pytest.mark.parametrize("solver", [Euler(), Heun(), EulerMaruyama()], ids=repr)
def test_same_seeds_same_samples_at_any_batch_size(solver) -> None:
    def make(labels: torch.Tensor | None) -> LearnedField:
        return LearnedField(tiny, CondOT(), "velocity", labels)

    labels = torch.arange(10) % 3
    sampling = Sampling(solver, 6, UniformGrid())
    whole, parts = (
        collect(generate(make, sampling, range(10), (3,), labels, batch_size=size)).samples for size in (10, 3)
    )
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-6)
    (generated,) = generate(make, sampling, range(4), (3,))
    assert generated.nfe == (11 if isinstance(solver, Heun) else 6)


def test_fields_are_differentiable() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    LearnedField(tiny, CondOT(), "velocity", torch.arange(3))(x, torch.tensor(0.5)).score.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
