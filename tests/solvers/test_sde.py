"""Euler-Maruyama on flows and on processes (facts F15-F18)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from helpers.closed_forms import affine, exported_solvers, normal
from torch import Tensor

from fmlab.distributions import GaussianMixture, three_gaussians
from fmlab.errors import UserError
from fmlab.fields import ExactField, LearnedField
from fmlab.figures import BrownianMotion, Langevin, LinearODE, OrnsteinUhlenbeck
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, Interpolant, Polynomial
from fmlab.solvers import (
    ConstantDiffusion,
    DiffusionCoefficient,
    Euler,
    EulerMaruyama,
    MemorylessDiffusion,
    NoiseLevelDiffusion,
    ProportionalDiffusion,
    SineDiffusion,
    Solver,
)

PATHS = [CondOT(), Cosine(), VP(), Polynomial(2)]


@pytest.mark.parametrize(
    "diffusion",
    [
        ConstantDiffusion(0.5),
        NoiseLevelDiffusion(),
        NoiseLevelDiffusion(0.4),
        ProportionalDiffusion(1.5),
        SineDiffusion(0.7),
        MemorylessDiffusion(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_every_diffusion_keeps_the_marginals_of_every_path(path: GaussianPath, diffusion: DiffusionCoefficient) -> None:
    """F15: from the marginal at t = 0 the marginals at .5 and .95 are met, with an error of first order in the step."""
    field, zero = ExactField(normal(2.0, 0.5), path), torch.tensor(0.0, dtype=torch.float64)
    start = path.alpha(zero) * 2, torch.sqrt((path.alpha(zero) * 0.5) ** 2 + path.beta(zero) ** 2)
    for time in (0.5, 0.95):
        t = torch.tensor(time, dtype=torch.float64)
        exact = torch.stack([path.alpha(t) * 2, (path.alpha(t) * 0.5) ** 2 + path.beta(t) ** 2])

        def error(steps: int) -> Tensor:
            times = torch.linspace(0, time, steps + 1, dtype=torch.float64)  # noqa: B023
            mean, variance, _ = affine(EulerMaruyama(diffusion), field, times, start[0].item(), start[1].item())
            return torch.tensor([mean, variance], dtype=torch.float64) - exact  # noqa: B023

        coarse, fine = error(200), error(400)
        assert coarse.abs().max() < 0.05
        assert (2 * fine - coarse).abs().max() < 0.004, "what is left without the first-order error"


def test_memoryless_diffusion_is_the_published_one() -> None:
    """F16: 2 (1 - t) / t on the straight path, and on VP the rate of Song et al.'s diffusion; finite at both ends."""
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    sigma = MemorylessDiffusion()
    torch.testing.assert_close(sigma(t, CondOT()) ** 2, 2 * (1 - t) / t)
    torch.testing.assert_close(sigma(t, VP(0.1, 20)) ** 2, 0.1 + (1 - t) * 19.9)
    for path in PATHS:
        ends = sigma(torch.tensor([0.0, 1.0]), path)
        assert torch.isfinite(ends).all()
        assert (ends >= 0).all()


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_memoryless_end_forgets_its_start(path: GaussianPath) -> None:
    """F16: the correlation of X_0 and X_1 is nearly 0, against 1 for the ODE."""
    field, times = ExactField(normal(2.0, 0.6), path), torch.linspace(0, 1, 401, dtype=torch.float64)
    correlations = {}
    for name, solver in (
        ("ode", Euler()),
        ("some", EulerMaruyama(0.3)),
        ("none", EulerMaruyama(MemorylessDiffusion())),
    ):
        _, variance, slope = affine(solver, field, times, 0.0, 1.0)
        correlations[name] = slope / math.sqrt(variance)
    assert correlations["ode"] == pytest.approx(1)
    assert 0.05 < correlations["some"] < 0.98
    assert abs(correlations["none"]) < 0.01


def test_brownian_motion_has_its_variance() -> None:
    """F17: sigma^2 t at any step length, with the mean where it started."""
    for steps in (1, 7):
        mean, variance, slope = affine(
            EulerMaruyama(), BrownianMotion(0.7), torch.linspace(0, 3, steps + 1, dtype=torch.float64), 1.5, 0.0
        )
        assert (mean, variance, slope) == pytest.approx((1.5, 0.49 * 3, 1.0))


def test_stationary_variance_of_the_discrete_process() -> None:
    """F17: sigma^2 / (2 theta - theta^2 h) = 1.025641 at theta = 1, sigma^2 = 2, h = 0.05, where the process has 1."""
    process, times = OrnsteinUhlenbeck(1.0, math.sqrt(2)), torch.linspace(0, 20, 401, dtype=torch.float64)
    mean, variance, _ = affine(EulerMaruyama(), process, times, 3.0, 0.0)
    assert variance == pytest.approx(1.025641, abs=1e-6)
    assert mean == pytest.approx(0, abs=1e-8)
    exact = process.law(torch.zeros(1, 1, dtype=torch.float64), 20.0)
    assert exact.covariance.item() == pytest.approx(1, abs=1e-12)


def halvings(error: Any) -> list[float]:
    """log2 of how much each halving of the step divides the error by."""
    errors = [error(steps) for steps in (16, 32, 64, 128)]
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


@pytest.mark.parametrize("process", [OrnsteinUhlenbeck(1.5, 0.8, mean=-2.0), Langevin(normal(1.0, 0.7), 1.2)], ids=repr)
def test_weak_order_one(process: Any) -> None:
    """F17: the errors of mean and variance halve with the step."""

    def measure(steps: int) -> tuple[float, float, float]:
        return affine(EulerMaruyama(), process, torch.linspace(0, 1, steps + 1, dtype=torch.float64), 1.5, 0.0)

    exact = process.law(torch.full((1, 1), 1.5, dtype=torch.float64), 1.0)
    for moment, value in enumerate((exact.mean.item(), exact.covariance.item())):
        rates = halvings(lambda steps: abs(measure(steps)[moment] - value))  # noqa: B023
        assert rates == pytest.approx([1] * 3, abs=0.12)


def test_strong_order_is_at_least_one_half() -> None:
    """F17: on the same Brownian path the root mean square error falls with order 1, the noise being additive."""
    assert EulerMaruyama.order == 0.5
    valley = GaussianMixture([0.5, 0.5], [[-1.0, 0.5], [1.0, 0.0]], [[[0.5, 0.1], [0.1, 0.3]]] * 2)
    process, finest, n = Langevin(valley), 2048, 300
    draws = torch.randn(finest, n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def end(steps: int) -> Tensor:
        together = finest // steps
        summed = draws.view(steps, together, n, 2).sum(1) / math.sqrt(together)
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        return EulerMaruyama().solve(process, x0, times, noise=lambda step, like: summed[step])

    reference = end(finest)
    rates = [math.log2((end(steps) - reference).norm() / (end(2 * steps) - reference).norm()) for steps in (16, 32, 64)]
    assert rates == pytest.approx([1] * 3, abs=0.2)


def test_increments_of_a_process_are_gaussian() -> None:
    """F18: excess kurtosis 0, where a product of two normal draws has 6; variance sigma^2 h; no two alike."""
    torch.manual_seed(0)
    states = EulerMaruyama().solve(
        BrownianMotion(0.8), torch.zeros(100_000, 1), torch.linspace(0, 0.02, 3), trajectory=True
    )
    first, second = states.diff(dim=0).squeeze(-1)
    for increment in (first, second):
        standard = increment / increment.std()
        assert increment.std().item() == pytest.approx(0.8 * 0.1, rel=0.01)
        assert (standard**4).mean().item() - 3 == pytest.approx(0, abs=0.1)
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1].item()) < 0.02


def test_langevin_leaves_a_mixture_as_it_is() -> None:
    """F17: means, covariances, components' shares and mean log-density stay; started elsewhere it gets there."""
    mixture, n = three_gaussians(), 8000
    generator = torch.Generator().manual_seed(0)
    start = mixture.sample(n, generator)
    times = torch.linspace(0, 0.25, 251)

    def solve(x: Tensor) -> Tensor:
        return EulerMaruyama().solve(
            Langevin(mixture), x, times, noise=lambda step, like: torch.randn(like.shape, generator=generator)
        )

    def statistics(x: Tensor) -> Tensor:
        shares = mixture.responsibilities(x).mean(0)
        return torch.cat([x.mean(0), torch.cov(x.T).flatten(), shares, mixture.log_density(x).mean()[None]])

    before = statistics(start)
    torch.testing.assert_close(statistics(solve(start)), before, rtol=0, atol=0.06)
    tighter = solve(start * 0.9 + 0.1)
    assert (statistics(start * 0.9 + 0.1)[-1] - before[-1]).abs() > 0.3
    assert (statistics(tighter)[-1] - before[-1]).abs() < 0.1


@pytest.mark.parametrize("solver", [each for each in exported_solvers() if not each.stochastic], ids=repr)
def test_ode_solvers_refuse_noise_and_take_a_flow(solver: Solver) -> None:
    """A solver that needs a path says so of a process as of any field without one."""
    times, x = torch.linspace(0, 1, 65, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64)
    for process in (BrownianMotion(), OrnsteinUhlenbeck(), Langevin(three_gaussians())):
        with pytest.raises(UserError, match=f"solves ODEs, and {type(process).__name__} has noise") as error:
            solver.solve(process, x, times)
        assert error.value.key == "solver"
        assert error.value.hint == "use EulerMaruyama"
        assert "\n" not in error.value.message
    rotation = LinearODE([[0, -1], [1, 0]])
    try:
        end = solver.solve(rotation, x, times)
    except UserError as error:
        assert "path" in error.message  # noqa: PT017 - a solver made for Gaussian paths
        return
    torch.testing.assert_close(end, rotation.law(x, 1.0).mean, rtol=0, atol=0.02)


def test_euler_maruyama_without_noise_is_euler() -> None:
    process, x, times = LinearODE([[-0.5, 1], [0, -1]]), torch.ones(3, 2), torch.linspace(0, 1, 9)
    assert torch.equal(EulerMaruyama().solve(process, x, times), Euler().solve(process, x, times))


def test_a_process_keeps_its_own_noise() -> None:
    x, times = torch.zeros(3, 1), torch.linspace(0, 1, 5)
    for process in (OrnsteinUhlenbeck(), LinearODE([[1.0]])):
        for diffusion in (0.5, 0.0, NoiseLevelDiffusion()):
            with pytest.raises(UserError, match="diffusion coefficient of its own") as error:
                EulerMaruyama(diffusion).solve(process, x, times)
            assert error.value.key == "solver.diffusion"
    with pytest.raises(UserError, match="forwards in time"):
        EulerMaruyama().solve(OrnsteinUhlenbeck(), x, times.flip(0))
    assert repr(EulerMaruyama()) == "EulerMaruyama()"
    assert repr(EulerMaruyama(0.5)) == "EulerMaruyama(diffusion=ConstantDiffusion(scale=0.5))"


class BridgeNetwork:
    """Velocity and score of x_t between N(0, 1) and N(2, 0.5^2), drawn independently, with a bridge's noise."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * t, 0.25 * t**2 + (1 - t) ** 2 + self.sigma**2 * t * (1 - t)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        time = t.double()[:, None]
        mean, variance = self.moments(time)
        rate = 0.5 * time - 2 * (1 - time) + self.sigma**2 * (1 - 2 * time)
        return torch.stack([2 + rate / (2 * variance) * (x - mean), -(x - mean) / variance], 1)


@pytest.mark.parametrize("diffusion", [0.7, None, NoiseLevelDiffusion(0.5)], ids=repr)
def test_a_bridge_keeps_its_marginals(diffusion: float | NoiseLevelDiffusion | None) -> None:
    """F15 on an Interpolant with a score head: a number, or the bridge's own noise scale."""
    network, times = BridgeNetwork(0.8), torch.linspace(0, 0.9, 401, dtype=torch.float64)
    field = LearnedField(network, Interpolant(sigma=0.8), "velocity_and_score")
    mean, variance, slope = affine(EulerMaruyama(diffusion), field, times, 0.0, 1.0)
    exact = network.moments(torch.tensor(0.9))
    assert (mean, variance) == pytest.approx([value.item() for value in exact], abs=0.01)
    assert slope / math.sqrt(variance) < 0.9, "the ODE's correlation is 1"
    with pytest.raises(UserError, match="needs a Gaussian path, here is Interpolant") as error:
        EulerMaruyama(MemorylessDiffusion()).solve(field, torch.zeros(2, 1), times)
    assert error.value.key == "solver.diffusion"
    assert "a number" in str(error.value.hint)
