"""Processes against the equations their laws obey (fact F17)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fmlab.distributions import EightGaussians, Gaussian, Moons, three_gaussians
from fmlab.errors import UserError
from fmlab.figures import BrownianMotion, Langevin, LinearODE, OrnsteinUhlenbeck, Process
from fmlab.solvers import Euler, Heun, Solver

NORMAL = Gaussian(
    torch.tensor([1.0, -0.5], dtype=torch.float64), torch.tensor([[1.2, 0.5], [0.5, 0.4]], dtype=torch.float64)
)
KNOWN = [
    LinearODE([[-0.3, 1.0], [-2.0, 0.1]], [0.5, -1.0]),
    BrownianMotion(0.7),
    OrnsteinUhlenbeck(1.5, 0.8, mean=-2.0),
    Langevin(NORMAL, 1.3),
]


def covariance_of(process: Process, x0: torch.Tensor, t: float) -> torch.Tensor:
    covariance = process.law(x0, t).covariance
    return covariance if covariance.ndim else covariance * torch.eye(2, dtype=x0.dtype)


@pytest.mark.parametrize("process", KNOWN, ids=repr)
def test_laws_obey_the_equations_of_their_moments(process: Process) -> None:
    """dm/dt = drift(m) and dC/dt = J C + C J^T + sigma^2 I for an affine drift of Jacobian J; at 0 X_0 is certain."""
    x0 = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start = process.law(x0, 0.0)
    torch.testing.assert_close(start.mean, x0)
    assert start.covariance.abs().max() == pytest.approx(0, abs=1e-15)
    for time in (0.2, 1.0, 2.5):
        h, t = 1e-4, torch.tensor(time, dtype=torch.float64)
        before, now, after = (process.law(x0, time + shift) for shift in (-h, 0, h))
        torch.testing.assert_close(
            (after.mean - before.mean) / (2 * h), process(now.mean, t).velocity, rtol=1e-6, atol=1e-7
        )
        jacobian = torch.autograd.functional.jacobian(lambda x: process.drift(x[None], t)[0], x0[0])  # noqa: B023
        c = covariance_of(process, x0, time)
        rate = (covariance_of(process, x0, time + h) - covariance_of(process, x0, time - h)) / (2 * h)
        expected = jacobian @ c + c @ jacobian.mT + process.diffusion(t) ** 2 * torch.eye(2, dtype=x0.dtype)
        torch.testing.assert_close(rate, expected, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(now.std.expand(2), c.diagonal().sqrt())


def test_laws_in_the_limit() -> None:
    """F17: Brownian variance sigma^2 t; OU tends to N(mean, sigma^2 / 2 theta); Langevin to its distribution."""
    x0 = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    assert BrownianMotion(0.5).law(x0, 8.0).covariance.item() == pytest.approx(2.0)
    late = OrnsteinUhlenbeck(theta=0.5, sigma=0.6, mean=-1.0).law(x0, 100.0)
    assert late.mean.tolist() == [[pytest.approx(-1), pytest.approx(-1)]]
    assert late.std.item() == pytest.approx(0.6)
    tended = Langevin(NORMAL, 2.0).law(x0, torch.tensor(50.0))
    torch.testing.assert_close(tended.mean[0], NORMAL.mean)
    torch.testing.assert_close(tended.covariance, NORMAL.covariance)


def test_a_rotation_turns() -> None:
    """exp of [[0, -1], [1, 0]] t is the rotation by t, and a shear is not symmetric."""
    angle = 0.7
    turned = LinearODE([[0, -1], [1, 0]]).law(torch.tensor([[1.0, 0.0]], dtype=torch.float64), angle)
    assert turned.mean[0].tolist() == pytest.approx([math.cos(angle), math.sin(angle)])
    assert turned.std.item() == 0
    sheared = LinearODE([[0, 1], [0, 0]], [0, 2]).law(torch.tensor([[0.0, 1.0]], dtype=torch.float64), 3.0)
    assert sheared.mean[0].tolist() == pytest.approx([3 * 1 + 3**2, 1 + 2 * 3])


@pytest.mark.parametrize("shape", [(1,), (6,), (2, 3), (1, 2, 3)])
def test_any_event_shape(shape: tuple[int, ...]) -> None:
    """Drift, law and solve agree between an event and its entries in a row."""
    torch.manual_seed(0)
    x, t = torch.randn(4, *shape, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    d = math.prod(shape)
    matrix = (0.3 * torch.randn(d, d)).tolist()
    processes: list[Process] = [BrownianMotion(), OrnsteinUhlenbeck(2.0, 0.5, 1.0), LinearODE(matrix)]
    processes.append(Langevin(Gaussian(torch.zeros(d), torch.eye(d) * torch.arange(1, d + 1))))
    for process in processes:
        velocity, law = process(x, t).velocity, process.law(x, 0.5)
        assert velocity.shape == law.mean.shape == x.shape
        assert velocity.dtype == law.mean.dtype == x.dtype
        assert (law.mean + law.std).shape == x.shape
        torch.testing.assert_close(velocity.flatten(1), process(x.flatten(1), t).velocity)
        torch.testing.assert_close(law.mean.flatten(1), process.law(x.flatten(1), 0.5).mean)
        assert process.diffusion(t).shape == t.shape
        assert process.path is None


@pytest.mark.parametrize("solver", [Euler(), Heun()], ids=repr)
def test_ode_solvers_follow_a_linear_ode_at_their_order(solver: Solver) -> None:
    process = KNOWN[0]
    x0 = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = process.law(x0, 2.0).mean

    def error(steps: int) -> float:
        times = torch.linspace(0, 2, steps + 1, dtype=torch.float64)
        return (solver.solve(process, x0, times) - exact).norm().item()

    assert math.log2(error(400) / error(800)) == pytest.approx(solver.order, abs=0.1)
    assert error(800) < 0.05


def test_a_flow_runs_backwards_too() -> None:
    x0 = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    end = KNOWN[0].law(x0, 1.0).mean
    back = Heun().solve(KNOWN[0], end, torch.linspace(1, 0, 801, dtype=torch.float64))
    torch.testing.assert_close(back, x0, rtol=0, atol=1e-5)


def test_langevin_follows_the_score() -> None:
    """Its drift is sigma^2 / 2 times the gradient of the log-density, by autograd."""
    mixture = three_gaussians()
    x = torch.randn(6, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixture.log_density(x).sum(), x)
    torch.testing.assert_close(
        Langevin(mixture, 0.6)(x, torch.tensor(0.0)).velocity, 0.18 * gradient, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "key", "text"),
    [
        (lambda: BrownianMotion(0), "sigma", "sigma > 0"),
        (lambda: OrnsteinUhlenbeck(theta=-1), "theta", "theta > 0"),
        (lambda: OrnsteinUhlenbeck(sigma=-1), "sigma", "sigma > 0"),
        (lambda: Langevin(NORMAL, 0), "sigma", "sigma > 0"),
        (lambda: LinearODE([[1, 2]]), "matrix", "square"),
        (lambda: LinearODE([[1]], [1, 2]), "offset", "1 numbers"),
        (lambda: LinearODE([[1]]).law(torch.zeros(2, 3), 1), "x", "1 entries"),
        (lambda: Langevin(EightGaussians()).law(torch.zeros(1, 2), 1), "distribution", "EightGaussians"),
        (lambda: Langevin(Moons()), "distribution", "no score"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, key: str, text: str) -> None:
    with pytest.raises(UserError, match=text) as error:
        make()
    assert error.value.key == key
