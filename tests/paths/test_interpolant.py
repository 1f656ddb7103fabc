"""Interpolants between any two laws, and the Schrödinger bridge between Gaussians (fact F27)."""

from __future__ import annotations

import math

import pytest
import torch

from fmlab.errors import UserError
from fmlab.fields import LearnedField
from fmlab.paths import VE, VP, CondOT, Cosine, Interpolant, Polynomial, SchrodingerBridge, SmoothedInterpolant, Sqrt
from fmlab.solvers import EulerMaruyama

INSIDE = torch.linspace(0.01, 0.99, 33, dtype=torch.float64)
SMOOTHED = SmoothedInterpolant(0.3)
BRIDGES = [
    Interpolant(),
    Interpolant(Cosine()),
    Interpolant(Polynomial(2), sigma=0.4),
    Interpolant(Sqrt(), sigma=0.3),
    Interpolant(VP(), sigma=1.0),
    SchrodingerBridge(1.0),
    SchrodingerBridge(0.2),
]


def shares(path: Interpolant, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of data, source and noise (3, len(t)) is in the point, and in its velocity: both are linear in them."""
    parts = []
    for part in range(3):
        data, source, noise = (torch.full((len(t), 1), float(part == i), dtype=torch.float64) for i in range(3))
        point = path.draw(data, source, t, noise)
        parts.append((point.x.flatten(), point.velocity.flatten()))
    x, velocity = zip(*parts)
    return torch.stack(x), torch.stack(velocity)


def entropic_covariance(sigma: float) -> float:
    """Cov(x_0, z) a dimension under the entropic coupling of two unit Gaussians with regularisation 2 sigma^2."""
    return (math.sqrt(4 + sigma**4) - sigma**2) / 2


@pytest.mark.parametrize("path", [*BRIDGES, SMOOTHED], ids=repr)
def test_the_velocity_is_the_time_derivative_of_the_point(path: Interpolant) -> None:
    """Central differences along a fixed (z, x_0, eps)."""
    torch.manual_seed(0)
    data, source, noise = torch.randn(3, 33, 2, 3, dtype=torch.float64)
    t, h = INSIDE * 0.9 + 0.05, 1e-4

    def at(shift: float) -> torch.Tensor:
        return path.draw(data, source, t + shift, noise).x

    difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    torch.testing.assert_close(path.draw(data, source, t, noise).velocity, difference, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 2.0])
def test_the_bridge_between_gaussians(sigma: float) -> None:
    """F27: between N(-a, I) and N(a, I), coupled entropically, mean and variance are the Schrödinger bridge's."""
    path, t = SchrodingerBridge(sigma), INSIDE
    (data, source, noise), velocity = shares(path, t)
    covariance = entropic_covariance(sigma)
    torch.testing.assert_close(data - source, 2 * t - 1)  # the mean's share of a
    variance = data**2 + source**2 + 2 * data * source * covariance + noise**2
    expected = t * (1 - t) * math.sqrt(4 + sigma**4) + (1 - t) ** 2 + t**2
    torch.testing.assert_close(variance, expected)
    # The flow moves them: d mean / dt = E v and d var / dt = 2 Cov(x, v).
    torch.testing.assert_close(velocity[0] - velocity[1], torch.full_like(t, 2.0))
    along = data * velocity[0] + source * velocity[1] + noise * velocity[2]
    along = along + covariance * (data * velocity[1] + source * velocity[0])
    slope = (1 - 2 * t) * math.sqrt(4 + sigma**4) - 2 * (1 - t) + 2 * t
    torch.testing.assert_close(2 * along, slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.3, 1.5])
def test_conditional_velocity_and_width(sigma: float) -> None:
    """F27: (1 - 2t) / (2 t (1 - t)) (x - mu_t) + x_1 - x_0, std sigma sqrt(t (1 - t)) = lambda sigma^2 / 2."""
    torch.manual_seed(0)
    data, source, noise = torch.randn(3, 33, 4, dtype=torch.float64)
    path, t, s = SchrodingerBridge(sigma), INSIDE, INSIDE[:, None]
    point = path.draw(data, source, t, noise)
    mean = s * data + (1 - s) * source
    torch.testing.assert_close(path.mean(data, source, t), mean)
    torch.testing.assert_close(point.velocity, (1 - 2 * s) / (2 * s * (1 - s)) * (point.x - mean) + data - source)
    torch.testing.assert_close(path.noise_scale(t) ** 2, sigma**2 * t * (1 - t))
    torch.testing.assert_close(point.noise_scale, path.noise_scale(s))
    torch.testing.assert_close(2 * torch.sqrt(t * (1 - t)) / sigma * sigma**2 / 2, path.noise_scale(t))
    torch.testing.assert_close(-(point.x - mean) / path.noise_scale(s) ** 2, -point.noise / point.noise_scale)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_flow_and_score_make_the_bridges_process(sigma: float) -> None:
    """F15, F27: dX = (v + sigma^2/2 s) dt + sigma dW joins the ends with the entropic coupling's own covariance.

    For Gaussians v and s are linear with slopes Cov(x, velocity) / var and -1 / var, so Cov(X_0, X_t) grows at the rate
    of the drift's slope, whose integral the midpoint rule takes.
    """
    path, covariance = SchrodingerBridge(sigma), entropic_covariance(sigma)
    t = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    (data, source, noise), velocity = shares(path, t)
    variance = data**2 + source**2 + 2 * data * source * covariance + noise**2
    along = data * velocity[0] + source * velocity[1] + noise * velocity[2]
    along = along + covariance * (data * velocity[1] + source * velocity[0])
    score_slope = -(noise**2) / variance / noise**2  # -E[eps | x] / noise_scale
    drift_slope = along / variance + sigma**2 / 2 * score_slope
    assert math.exp(drift_slope.mean().item()) == pytest.approx(covariance, rel=1e-5)


def test_an_sde_solve_ends_in_the_bridges_law() -> None:
    """F27 by simulation: a two-headed field of the bridge from N(-1, 1) to N(1, 1) keeps the coupling and the law."""
    sigma, n = 1.0, 20_000
    covariance = entropic_covariance(sigma)

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        t = t[:, None]
        variance = t * (1 - t) * math.sqrt(4 + sigma**4) + (1 - t) ** 2 + t**2
        slope = ((1 - 2 * t) * math.sqrt(4 + sigma**4) + 4 * t - 2) / 2
        centred = (x - (2 * t - 1)) / variance
        return torch.stack([2 + slope * centred, -centred], 1)

    path, generator = SchrodingerBridge(sigma), torch.Generator().manual_seed(0)
    start = torch.randn(n, 1, generator=generator) - 1
    field = LearnedField(network, path, "velocity_and_score")
    end = EulerMaruyama(sigma).solve(
        field,
        path.initial(start),
        torch.linspace(0, 1, 101),
        noise=lambda step, like: torch.randn(like.shape, generator=generator),
    )
    assert end.mean().item() == pytest.approx(1, abs=0.03)
    assert end.std().item() == pytest.approx(1, abs=0.03)
    assert torch.cov(torch.cat([start, end], 1).T)[0, 1].item() == pytest.approx(covariance, abs=0.03)


@pytest.mark.parametrize("path", BRIDGES, ids=repr)
def test_the_ends_are_source_and_data(path: Interpolant) -> None:
    """No noise at t = 0 and 1; shapes of any rank; the clipped times give finite velocities."""
    data, source, noise = torch.randn(3, 5, 2, 3, 3, dtype=torch.float64)
    for time, end in ((0.0, source), (1.0, data)):
        t = torch.full((5,), time, dtype=torch.float64)
        if not isinstance(path.schedule, VP) or time == 1:
            torch.testing.assert_close(path.draw(data, source, t, noise).x, end)
        clipped = path.clip(t, "velocity")
        assert torch.isfinite(path.draw(data, source, clipped, noise).velocity).all()
        assert (clipped - t).abs().max() < 0.00101
    torch.testing.assert_close(path.initial(source), source, rtol=1e-4, atol=1e-4)


def test_a_smoothed_interpolant_has_the_same_noise_at_all_times() -> None:
    """N(t z + (1 - t) x_0, sigma^2), at both ends too, with velocity z - x_0; nothing has to be clipped."""
    data, source, noise = torch.randn(3, 5, 2, dtype=torch.float64)
    t = torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64)
    point = SMOOTHED.draw(data, source, t, noise)
    torch.testing.assert_close(point.x, t[:, None] * data + (1 - t[:, None]) * source + 0.3 * noise)
    torch.testing.assert_close(point.velocity, data - source)
    assert torch.equal(SMOOTHED.clip(t, "velocity"), t)
    torch.testing.assert_close(SMOOTHED.noise_scale(t), torch.full_like(t, 0.3))
    assert torch.equal(SMOOTHED.initial(source), source)
    assert repr(SMOOTHED) == "SmoothedInterpolant(sigma=0.3)"
    with pytest.raises(UserError, match="sigma > 0"):
        SmoothedInterpolant(0.0)


def test_without_sigma_there_is_no_noise() -> None:
    """sigma = 0 is the deterministic interpolant: it draws none, needs none and says so."""
    data, source = torch.randn(2, 5, 3)
    path = Interpolant()
    assert not path.needs_noise
    point = path.draw(data, source, torch.linspace(0, 1, 5))
    assert point.noise is None
    torch.testing.assert_close(point.velocity, data - source)
    assert path.clip(torch.tensor([0.0, 1.0]), "velocity").tolist() == [0, 1]
    assert Interpolant(Sqrt()).clip(torch.ones(()), "velocity") < 1
    assert repr(Interpolant(VE())) == "Interpolant(schedule=VE(sigma_min=0.01, sigma_max=50.0), sigma=0.0)"


def test_what_does_not_exist_is_refused() -> None:
    """A negative sigma, a bridge without noise or without diffusion, and outputs that say nothing of the velocity."""
    with pytest.raises(UserError, match="not negative"):
        Interpolant(sigma=-1)
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match="sigma > 0"):
            SchrodingerBridge(wrong)
    data, source = torch.randn(2, 5, 3)
    with pytest.raises(UserError, match="needs noise"):
        SchrodingerBridge().draw(data, source, torch.rand(5))
    for output in ("score", "noise", "data"):
        with pytest.raises(UserError, match=f"no conversion from {output}"):
            Interpolant(CondOT()).clip(torch.rand(5), output)
    flow_alone = LearnedField(lambda x, t: x, Interpolant())(data, torch.tensor(0.5))
    with pytest.raises(UserError, match="no score head"):
        _ = flow_alone.score
