"""Path energy, and that of the optimal transport between Gaussians (facts F25, F26)."""

from __future__ import annotations

import pytest
import torch

from fmlab.fields import LearnedField
from fmlab.metrics.transport import normalised_path_energy, path_energy
from fmlab.paths import Interpolant
from fmlab.solvers import Euler, UniformGrid


def trajectory(velocity, start: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Euler's states along a velocity `velocity(x, t)`."""
    return Euler().solve(LearnedField(velocity, Interpolant()), start, times, trajectory=True)


def gaussian_points(n: int) -> torch.Tensor:
    """Points of mean exactly 0 and covariance exactly I."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / n)).T


def test_the_optimal_map_between_gaussians_costs_what_it_has_to() -> None:
    """F26: T(x) = m + A x with A positive; points move straight, at x' = T(x_0) - x_0, and E = W2^2 (F25)."""
    matrix, mean = torch.tensor([[1.5, 0.4], [0.4, 0.7]], dtype=torch.float64), torch.tensor([2.0, -1.0]).double()
    start, times = gaussian_points(500), UniformGrid()(100, Interpolant())
    identity = torch.eye(2, dtype=torch.float64)
    squared = mean.square().sum() + (matrix - identity).square().sum()  # |m|^2 + tr (A - I)^2

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        back = torch.linalg.inv((1 - t[0]) * identity + t[0] * matrix).to(x)
        origin = (x - t[:1].to(x) * mean) @ back
        return mean + origin @ (matrix - identity)

    states = trajectory(velocity, start, times)
    torch.testing.assert_close(states[-1], mean + start @ matrix, rtol=1e-5, atol=1e-5)
    assert normalised_path_energy(states, times, squared).item() < 1e-6


def test_a_detour_costs_more() -> None:
    """Once round a circle of radius 1 at an even pace: the energy is the square of its length, (2 pi)^2."""
    times = torch.cat([torch.linspace(0, 0.5, 801)[:-1], torch.linspace(0.5, 1, 401)]).double()
    angle = 2 * torch.pi * times
    states = torch.stack([angle.cos(), angle.sin()], 1)[:, None].expand(-1, 3, 2)
    assert path_energy(states, times).item() == pytest.approx((2 * torch.pi) ** 2, rel=1e-4)
    assert normalised_path_energy(states, times, 4.0).item() == pytest.approx(torch.pi**2 - 1, rel=1e-4)
    assert normalised_path_energy(states, times, 100.0).item() == pytest.approx(1 - 0.3948, rel=1e-3)


def test_it_is_the_integral_of_the_squared_velocity_of_an_eulers_solve() -> None:
    times = torch.tensor([0.0, 0.1, 0.5, 1.0])
    start = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(torch.sin(3 * x) + t[:, None, None])
        return seen[-1]

    states = trajectory(velocity, start, times)
    energies = [v.square().sum((1, 2)).mean() for v in seen]
    expected = sum(step * energy for step, energy in zip(times.diff(), energies))
    assert path_energy(states, times).item() == pytest.approx(float(expected), rel=1e-5)
