"""Solvers on a field whose solution is known (facts F8, F15, F17, F18)."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.closed_forms import exported_solvers

from fmlab.distributions import three_gaussians
from fmlab.errors import UserError
from fmlab.fields import ExactField
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, Polynomial, Prediction
from fmlab.solvers import (
    ConstantDiffusion,
    Euler,
    EulerMaruyama,
    Heun,
    NoiseLevelDiffusion,
    SeededNoise,
    Solver,
    UniformGrid,
)
from fmlab.solvers.base import steps_between


class GaussianFlow:
    """The marginal velocity of N(mean, std^2) in one dimension, written from F8 and independent of any conversion."""

    def __init__(self, path: GaussianPath, mean: float = 2.0, std: float = 0.5) -> None:
        self.path, self.mean, self.std, self.nfe = path, mean, std, 0

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> Prediction:
        self.nfe += 1
        a, b = self.path.alpha(t), self.path.beta(t)
        variance = a**2 * self.std**2 + b**2
        slope = (a * self.path.alpha_dot(t) * self.std**2 + b * self.path.beta_dot(t)) / variance
        velocity = self.path.alpha_dot(t) * self.mean + slope * (x - a * self.mean)
        return Prediction(self.path, x, t, "velocity", velocity)


def flow_map(solver: Solver, steps: int, path: GaussianPath) -> tuple[float, float]:
    """(slope, mean) of the affine map that a solve of the 1-D Gaussian field is."""
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    start, end = solver.solve(GaussianFlow(path), x, UniformGrid()(steps, path)).flatten().tolist()
    return end - start, start


def test_euler_follows_its_exact_recursion() -> None:
    """F8: the slopes after 1, 2, 4, ... Euler steps on the straight path, and the exact mean for every number."""
    slopes = [0, 0.2, 0.3405405405, 0.4147845545, 0.4556830934, 0.4773635701, 0.4885552947]
    for power, expected in enumerate(slopes):
        slope, mean = flow_map(Euler(), 2**power, CondOT())
        assert slope == pytest.approx(expected, abs=1e-9)
        assert mean == pytest.approx(2, abs=1e-9)


@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP(), Polynomial(2)], ids=repr)
def test_flow_map_of_a_gaussian(path: GaussianPath) -> None:
    """F8: x_1 = m + s x_0 for isotropic data (up to the trace of data that VP leaves at t = 0)."""
    slope, mean = flow_map(Heun(), 400, path)
    assert slope == pytest.approx(0.5, abs=4e-3)
    assert mean == pytest.approx(2.0, abs=2e-2)


@pytest.mark.parametrize(
    "diffusion", [0.0, 0.7, ConstantDiffusion(0.7), NoiseLevelDiffusion(1.0), NoiseLevelDiffusion(0.5)], ids=repr
)
def test_sde_extension_keeps_the_marginals(diffusion) -> None:
    """F15: mean and standard deviation half-way are the path's own, for every diffusion coefficient."""
    path, n = CondOT(), 40_000
    noise = torch.Generator().manual_seed(0)
    times = torch.linspace(0, 0.8, 161, dtype=torch.float64)
    x = torch.randn(n, 1, generator=noise, dtype=torch.float64)
    end = EulerMaruyama(diffusion).solve(
        GaussianFlow(path), x, times, noise=lambda step, like: torch.randn(like.shape, generator=noise).double()
    )
    expected = math.sqrt((0.8 * 0.5) ** 2 + 0.2**2)
    assert end.mean().item() == pytest.approx(1.6, abs=0.01)
    assert end.std().item() == pytest.approx(expected, abs=0.01)
    if not isinstance(diffusion, float) or diffusion > 0:
        correlation = torch.corrcoef(torch.cat([x, end], 1).T)[0, 1]
        assert correlation < 0.97, "the SDE must forget its start, unlike the ODE"


def test_increments_are_gaussian() -> None:
    """F18: one standard normal an increment; a product of two would have excess kurtosis 6."""

    class Still:
        path = CondOT()

        def __call__(self, x: torch.Tensor, t: torch.Tensor) -> Prediction:
            return Prediction(self.path, x, t, "velocity", torch.zeros_like(x))

    class Flat(EulerMaruyama):
        pass

    torch.manual_seed(0)
    x = torch.zeros(200_000, 1)
    times = torch.tensor([0.0, 0.01, 1.0])
    # At t = 0 the score of x = 0 is 0 and the velocity is 0: what remains is the increment.
    increment = Flat(0.8).solve(Still(), x, times, trajectory=True)[1]
    standard = increment / increment.std()
    assert increment.std().item() == pytest.approx(0.8 * 0.1, rel=0.02)
    assert (standard**4).mean().item() - 3 == pytest.approx(0, abs=0.1)


def test_zero_diffusion_is_euler() -> None:
    field, x, times = GaussianFlow(CondOT()), torch.randn(5, 1), UniformGrid()(7, CondOT())
    assert torch.equal(EulerMaruyama(0.0).solve(field, x, times), Euler().solve(field, x, times))


def test_trajectory_holds_every_state() -> None:
    field, x = GaussianFlow(CondOT()), torch.randn(5, 1)
    states = Euler().solve(field, x, UniformGrid()(4, field.path), trajectory=True)
    assert states.shape == (5, 5, 1)
    assert torch.equal(states[0], x)
    assert torch.equal(states[-1], Euler().solve(field, x, UniformGrid()(4, field.path)))


def test_seeded_noise_depends_on_the_seed_and_the_step_alone() -> None:
    """One image's noise is the same in any batch; two steps, and two seeds, differ."""
    alone, together = SeededNoise([7]), SeededNoise([3, 7, 9])
    like = torch.zeros(3, 2, 4)
    assert torch.equal(alone.initial((2, 4))[0], together.initial((2, 4))[1])
    assert torch.equal(alone(5, like[:1])[0], together(5, like)[1])
    assert not torch.equal(together(5, like), together(6, like))
    assert not torch.equal(together(0, like), together.initial((2, 4)))
    assert len({together.initial((2, 4))[i].sum().item() for i in range(3)}) == 3
    many = SeededNoise(range(4000)).initial((4,))
    assert many.mean().abs() < 0.03
    assert many.std().item() == pytest.approx(1, abs=0.02)


def test_a_grid_of_one_time_is_refused() -> None:
    with pytest.raises(UserError, match="two times"):
        Euler().solve(GaussianFlow(CondOT()), torch.zeros(1, 1), torch.tensor([0.5]))


@pytest.mark.parametrize("solver", exported_solvers(), ids=repr)
def test_all_that_a_solver_remembers_is_its_state(solver: Solver) -> None:
    """Two solves taken turn by turn with one object end where each ends alone, and a step can be taken again."""
    fields = [ExactField(three_gaussians(), path) for path in (CondOT(), Cosine())]
    grids = [UniformGrid()(5, field.path) for field in fields]
    noises = [SeededNoise([seed, seed + 1]) for seed in (0, 5)]
    points = [noise.initial((2,)).double() for noise in noises]
    before, expected = repr(solver), []
    for field, x, times, noise in zip(fields, points, grids, noises):
        expected.append(solver.solve(field, x, times, noise=noise, trajectory=True)[-1])
    states = [solver.init(field, x, times) for field, x, times in zip(fields, points, grids)]
    steps = [list(steps_between(times, points[0], noise)) for times, noise in zip(grids, noises)]
    for pair in zip(*steps):
        for which, step in enumerate(pair):
            once, twice = (solver.step(fields[which], points[which], step, states[which]) for _ in range(2))
            assert torch.equal(once[0], twice[0])
            points[which], states[which] = twice
    assert all(torch.equal(end, alone) for end, alone in zip(points, expected))
    assert repr(solver) == before
