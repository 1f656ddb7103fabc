"""Stochastic solvers: their laws, their last step, their noise (facts F15-F19)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.closed_forms import affine, double, exported_solvers, noise, normal, responses, three_modes
from torch import Tensor

from fmlab.distributions import Gaussian, three_gaussians
from fmlab.errors import UserError
from fmlab.fields import ExactField, LearnedField
from fmlab.figures import BrownianMotion, LinearODE, OrnsteinUhlenbeck
from fmlab.paths import EDM, VE, VP, CondOT, Cosine, GaussianPath, Interpolant, LinearVP, Polynomial, Sqrt
from fmlab.solvers import (
    ConstantDiffusion,
    DiffusionCoefficient,
    DPMSolverPP2M,
    DPMSolverPP2MSDE,
    EDMChurn,
    EulerMaruyama,
    Heun,
    MemorylessDiffusion,
    NoiseLevelDiffusion,
    PredictorCorrector,
    ProportionalDiffusion,
    SeededNoise,
    SineDiffusion,
    Solver,
    Step,
    StochasticHeun,
    UniformGrid,
)

DIFFUSIONS = [
    ConstantDiffusion(0.5),
    NoiseLevelDiffusion(),
    ProportionalDiffusion(1.5),
    SineDiffusion(0.7),
    MemorylessDiffusion(),
]
STOCHASTIC = [solver for solver in exported_solvers() if solver.stochastic]


def grid(first: float, last: float, steps: int) -> Tensor:
    return torch.linspace(first, last, steps + 1, dtype=torch.float64)


def law_error(solver: Solver, path: GaussianPath, times: Tensor, draws: int = 1) -> Tensor:
    """Errors of mean and variance at the end, from the exact law of N(2, 0.5^2) at the start."""
    alpha, variance = path.alpha(times), (0.5 * path.alpha(times)) ** 2 + path.beta(times) ** 2
    field = ExactField(normal(2.0, 0.5), path)
    mean, result, _ = affine(solver, field, times, 2 * alpha[0].item(), variance[0].sqrt().item(), draws)
    return double([mean, result]) - torch.stack([2 * alpha[-1], variance[-1]])


@pytest.mark.parametrize("diffusion", DIFFUSIONS, ids=repr)
@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP()], ids=repr)
def test_stochastic_heun_keeps_marginals_to_second_order(path: GaussianPath, diffusion: DiffusionCoefficient) -> None:
    """F15, and a weak order of 2 where drift and noise are smooth."""
    coarse, fine = (law_error(StochasticHeun(diffusion), path, grid(0.2, 0.8, n)).abs().max() for n in (30, 60))
    assert coarse < 0.02
    assert math.log2(coarse / fine) > 1.75


@pytest.mark.parametrize("solver", [DPMSolverPP2MSDE(), DPMSolverPP2MSDE(0.3), EDMChurn(15, 0, math.inf, 1)], ids=repr)
@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP()], ids=repr)
def test_exponential_methods_keep_the_marginals(path: GaussianPath, solver: Solver) -> None:
    """F15: mean and variance are the path's, with an error that falls with the step."""
    coarse, fine = (law_error(solver, path, grid(0.1, 0.9, n)).abs().max() for n in (50, 100))
    assert fine < 0.02
    assert coarse / fine > 1.7


@pytest.mark.parametrize("path", [CondOT(), Cosine(), Polynomial(2), Sqrt(), LinearVP(), VP()], ids=repr)
@pytest.mark.parametrize(
    "solver",
    [
        *(EulerMaruyama(diffusion) for diffusion in DIFFUSIONS),
        *(StochasticHeun(diffusion) for diffusion in DIFFUSIONS),
        DPMSolverPP2MSDE(),
        EDMChurn(20, S_noise=1),
        PredictorCorrector(snr=0.1),
    ],
    ids=repr,
)
def test_the_data_are_reached_without_noise(solver: Solver, path: GaussianPath) -> None:
    """F19: from t = 0 to t = 1 the law of N(2, 0.5^2) is met, and the last increment does not reach the end."""
    times = UniformGrid()(100, path)
    mean, variance = law_error(solver, path, times, draws=2)
    # A constant coefficient takes steps shorter than beta^2 near the end, which these are not.
    loose = 0.1 if getattr(solver, "diffusion", None).__class__ is ConstantDiffusion else 0.04
    assert abs(mean) < loose
    assert abs(variance) < loose
    last = responses(solver, ExactField(normal(2.0, 0.5), path), times, 2.0, draws=2)[-2:]
    assert last.abs().max() < (0.1 if isinstance(solver, EDMChurn) else 1e-12)


@pytest.mark.parametrize("path", [CondOT(), Cosine(), Sqrt(), VP()], ids=repr)
@pytest.mark.parametrize("solver", STOCHASTIC, ids=repr)
def test_a_single_point_is_reached_to_the_last_bit_of_noise(solver: Solver, path: GaussianPath) -> None:
    """F19, where it is sharp: towards one point Tweedie's mean is that point, after any noise and at any step."""
    point = double([1.5, -0.5])
    field = ExactField(Gaussian(point, torch.zeros(2, 2, dtype=torch.float64)), path)
    for steps in (1, 2, 7):
        torch.manual_seed(0)
        end = solver.solve(field, path.initial(noise()), UniformGrid()(steps, path))
        torch.testing.assert_close(end, point.expand_as(end), rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", [VE(0.05, 5.0), EDM(0.05, 5.0), CondOT(0.05)], ids=repr)
@pytest.mark.parametrize("solver", STOCHASTIC, ids=repr)
def test_what_a_path_leaves_of_noise_is_all_there_is(solver: Solver, path: GaussianPath) -> None:
    """F19 where beta(1) > 0: the variance at the end is the path's own, alpha^2 s^2 + beta^2."""
    times = UniformGrid()(100, path)
    mean, variance = law_error(solver, path, times, draws=2)
    assert abs(mean) < 0.03
    assert abs(variance) < 0.03
    if not isinstance(solver, EDMChurn):  # which adds its noise before the step
        last = responses(solver, ExactField(normal(2.0, 0.5), path), times[-9:], 2.0, draws=2)[-2:]
        assert last.abs().max() < 1e-12


def test_the_last_step_off_gaussian_paths() -> None:
    """On a bridge it is the flow's Euler step; a process keeps the noise of every step."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([x + 1, -x], 1)

    bridge = LearnedField(network, Interpolant(sigma=0.8), "velocity_and_score")
    times, x = double([0.6, 0.8]), torch.ones(3, 1, dtype=torch.float64)
    for solver in (EulerMaruyama(0.7), StochasticHeun(0.7)):
        torch.testing.assert_close(solver.solve(bridge, x, times), x + 0.2 * (x + 1))
        assert responses(type(solver)(), BrownianMotion(0.5), times, 0.0)[-1].item() == pytest.approx(
            0.5 * math.sqrt(0.2)
        )


def test_stochastic_heun_on_processes() -> None:
    """F17: weak order 2 where Euler-Maruyama has 1; without noise it is Heun's method, to its end."""
    process = OrnsteinUhlenbeck(1.5, 0.8, mean=-2.0)
    exact = process.law(torch.full((1, 1), 1.5, dtype=torch.float64), 1.0)
    for solver, order in ((StochasticHeun(), 2), (EulerMaruyama(), 1)):
        errors = []
        for steps in (32, 64):
            mean, variance, _ = affine(solver, process, grid(0, 1, steps), 1.5, 0.0)
            errors.append(double([mean - exact.mean.item(), variance - exact.covariance.item()]).abs())
        assert torch.log2(errors[0] / errors[1]).tolist() == pytest.approx([order] * 2, abs=0.12)
    mean, variance, _ = affine(StochasticHeun(), BrownianMotion(0.7), grid(0, 3, 4), 1.5, 0.0)
    assert (mean, variance) == pytest.approx((1.5, 0.49 * 3))
    rotation, x = LinearODE([[0, -1], [1, 0]]), torch.ones(3, 2, dtype=torch.float64)
    end = StochasticHeun().solve(rotation, x, grid(0, 1, 200))
    torch.testing.assert_close(end, rotation.law(x, 1.0).mean, atol=1e-4, rtol=0)
    for diffusion in (0.0, NoiseLevelDiffusion(0)):
        stochastic, plain = (
            solver.solve(three_modes(Cosine()), noise(), grid(0, 1, 7))
            for solver in (StochasticHeun(diffusion), Heun())
        )
        torch.testing.assert_close(stochastic, plain)


@pytest.mark.parametrize(
    ("solver", "least"),
    [(EulerMaruyama(), 0.8), (StochasticHeun(), 0.8), (EulerMaruyama(SineDiffusion()), 0.8)],
    ids=repr,
)
def test_halved_steps_of_one_brownian_path_converge(solver: Solver, least: float) -> None:
    """F19: the root mean square distance to the finest solve falls with the step, from t = 0 to t = 1."""
    finest, n = 512, 200
    draws = torch.randn(finest, n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def end(steps: int) -> Tensor:
        summed = draws.view(steps, finest // steps, n, 2).sum(1) / math.sqrt(finest // steps)
        return solver.solve(three_modes(CondOT()), noise(n), grid(0, 1, steps), noise=lambda step, like: summed[step])

    reference = end(finest)
    errors = [(end(steps) - reference).square().mean().sqrt() for steps in (16, 64)]
    assert errors[1] < 0.1
    assert math.log2(errors[0] / errors[1]) / 2 > least


def test_diffusions_by_their_formulas() -> None:
    """F15's coefficients: EDM's Langevin rate on x / alpha, SiT's forms, and what vanishes where."""
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(ProportionalDiffusion(1.5)(t, Cosine()), 1.5 * Cosine().beta(t))
    torch.testing.assert_close(NoiseLevelDiffusion()(t, CondOT()) ** 2 / 2, 1 - t)
    torch.testing.assert_close(SineDiffusion(0.5)(t, CondOT()) ** 2 / 2, 0.25 * torch.sin(math.pi * t) ** 2)
    assert (SineDiffusion()(torch.tensor([0.0, 1.0]), CondOT()) >= 0).all()
    for name in (ConstantDiffusion, NoiseLevelDiffusion, ProportionalDiffusion, SineDiffusion):
        with pytest.raises(UserError, match="not negative"):
            name(-0.1)


def test_2m_sde_between_2m_and_a_fresh_start() -> None:
    """At eta 0 it is DPM-Solver++(2M); from alpha = 0 and with noise it keeps nothing of the start (F16)."""
    times = grid(0, 1, 9)
    ends = [solver.solve(three_modes(VP()), noise(), times) for solver in (DPMSolverPP2MSDE(0.0), DPMSolverPP2M())]
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-12)
    field = ExactField(normal(2.0, 0.5), CondOT())
    slopes = {eta: affine(DPMSolverPP2MSDE(eta), field, times, 0.0, 1.0)[2] for eta in (0.0, 0.2, 1.0)}
    assert slopes[0.0] == pytest.approx(0.5, abs=0.1)
    assert slopes[0.2] == slopes[1.0] == 0
    with pytest.raises(UserError, match="not negative"):
        DPMSolverPP2MSDE(-1)


def test_one_step_of_2m_sde_is_the_reversed_diffusion_exactly() -> None:
    """Towards one point a step of any length has the reversed process's law given x: q(x' | x, z) of DDPM."""
    path, point = Cosine(), 1.5
    field = ExactField(Gaussian(double([point]), double([[0.0]])), path)
    times = double([0.3, 0.7, 0.9])
    (a, c, _), (b, d, _) = path.alpha(times).tolist(), path.beta(times).tolist()
    mean, variance, slope = affine(_First(DPMSolverPP2MSDE()), field, times[:2], 0.4, 0.0)
    ratio = (a * d / (c * b)) ** 2  # SNR / SNR'
    assert slope == pytest.approx(ratio * c / a)
    assert mean == pytest.approx(ratio * c / a * 0.4 + c * (1 - ratio) * point)
    assert variance == pytest.approx(d**2 * (1 - ratio))


class _First(Solver):
    """A solver's step as one that others follow."""

    stochastic = True

    def __init__(self, solver: Solver) -> None:
        self.solver, self.order = solver, solver.order

    def init(self, field: Any, x: Tensor, times: Tensor) -> Any:
        return self.solver.init(field, x, times)

    def step(self, field: Any, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        return self.solver.step(field, x, replace(step, last=False), state)


def churned(solver: EDMChurn, path: GaussianPath, t: float) -> float:
    """How much noise, relative to that in x, a step from t adds: from the time at which the field is first asked."""
    asked = []

    class Asking(ExactField):
        def evaluate(self, x: Tensor, t: Tensor):
            asked.append(t)
            return super().evaluate(x, t)

    field = Asking(normal(0.0, 1.0), path)
    solver.solve(field, torch.zeros(1, 1, dtype=torch.float64), double([t, (t + 1) / 2, (t + 3) / 4, 0.99]))
    sigma, before = (path.beta(s) / path.alpha(s) for s in (asked[0], double(t)))
    return (sigma / before - 1).item()


def test_how_much_is_churned() -> None:
    """gamma is S_churn / steps, at most sqrt(2) - 1, between S_min and S_max; never beyond the path's start."""
    for path in (CondOT(), VP()):
        t = 0.6
        sigma = (path.beta(double(t)) / path.alpha(double(t))).item()
        assert churned(EDMChurn(0.6), path, t) == pytest.approx(0.2)
        assert churned(EDMChurn(100), path, t) == pytest.approx(math.sqrt(2) - 1)
        assert churned(EDMChurn(0.6, S_min=1.1 * sigma), path, t) == 0
        assert churned(EDMChurn(0.6, S_max=0.9 * sigma), path, t) == 0
        assert churned(EDMChurn(0.6, S_min=0.9 * sigma, S_max=1.1 * sigma), path, t) == pytest.approx(0.2)
    assert churned(EDMChurn(100, S_max=math.inf), VE(0.01, 5.0), 0.0) == 0
    for wrong in ({"S_churn": -1}, {"S_noise": -1}, {"S_min": 2, "S_max": 1}):
        with pytest.raises(UserError):
            EDMChurn(**wrong)


def test_churned_noise_has_its_standard_deviation() -> None:
    """A point at sigma is moved to sigma' by noise of sqrt(sigma'^2 - sigma^2), in x / alpha."""
    path, t = VP(), 0.6
    field = ExactField(Gaussian(double([0.0]), double([[0.0]])), path)
    times = double([t, 0.8, 1.0])
    first = _First(EDMChurn(10, S_noise=1.5))
    raised, sigma = math.sqrt(2), (path.beta(times[0]) / path.alpha(times[0])).item()
    sigma_next = (path.beta(times[1]) / path.alpha(times[1])).item()
    _, variance, _ = affine(first, field, times[:2], 0.0, 0.0)
    # Towards a point at 0 the rest of the step scales x / alpha by sigma' / sigma.
    added = 1.5 * sigma * math.sqrt(raised**2 - 1)
    expected = (added * sigma_next / (raised * sigma) * path.alpha(times[1]).item()) ** 2
    assert variance == pytest.approx(expected, rel=1e-9)


class Still(Solver):
    """A predictor that goes nowhere."""

    order = 1.0

    def step(self, field: Any, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        return x, state


@pytest.mark.parametrize("path", [CondOT(), VP()], ids=repr)
@pytest.mark.parametrize(("snr", "corrections"), [(0.3, 1), (0.3, 4), (0.05, 2)])
def test_a_langevin_correction_of_a_normal_law(path: GaussianPath, snr: float, corrections: int) -> None:
    """Its exact recursion V -> (1 - delta / Sigma)^2 V + 2 delta, which leaves Sigma to second order in delta."""
    field, at = ExactField(normal(2.0, 0.5), path), double(0.4)
    target = ((0.5 * path.alpha(at)) ** 2 + path.beta(at) ** 2).item()
    delta = 2 * (snr * path.beta(at).item()) ** 2
    for start in (target, 3 * target):
        mean, variance, _ = affine(
            _First(PredictorCorrector(Still(), snr, corrections)),
            field,
            double([0.4 - 1e-9, 0.4]),
            2 * path.alpha(at).item(),
            math.sqrt(start),
            draws=1 + corrections,
        )
        expected = start
        for _ in range(corrections):
            expected = (1 - delta / target) ** 2 * expected + 2 * delta
        assert mean == pytest.approx(2 * path.alpha(at).item(), abs=1e-6)
        assert variance == pytest.approx(expected, rel=1e-6)
        if start == target:
            assert abs(variance - target) <= 1.01 * corrections * delta**2 / target


def test_langevin_corrections_leave_a_mixture_as_it_is() -> None:
    """Means, covariances and shares of the components at t = 0.6 stay through 40 corrections."""
    path, n, t = CondOT(), 8000, double(0.6)
    mixture, generator = three_gaussians(), torch.Generator().manual_seed(0)
    start = path.sample(mixture.sample(n, generator).double(), torch.randn(n, 2, generator=generator).double(), t)
    solver = _First(PredictorCorrector(Still(), 0.15, 40))

    def draw(step: int, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    end = solver.solve(ExactField(mixture, path), start, torch.stack([t - 1e-9, t]), noise=draw)
    assert (end - start).square().mean() > 0.05, "the points have moved"
    shares = lambda x: mixture.responsibilities(x / 0.6).mean(0)  # noqa: E731
    for statistic in (lambda x: x.mean(0), lambda x: torch.cov(x.T), shares):
        torch.testing.assert_close(statistic(end), statistic(start), rtol=0, atol=0.04)


def test_predictor_and_corrector_draw_different_numbers() -> None:
    """One draw a step serves them all: noise keyed by step would else repeat itself."""
    drawn = []

    def record(step: int, like: Tensor) -> Tensor:
        drawn.append((step, tuple(like.shape)))
        return SeededNoise([5] * len(like))(step, like)

    solver = PredictorCorrector(corrections=2)
    field = three_modes(CondOT())
    solver.solve(field, noise(3), grid(0, 1, 4), noise=record)
    assert drawn == [(0, (3, 3, 2)), (1, (3, 3, 2)), (2, (3, 3, 2)), (3, (3, 1, 2))]
    assert field.nfe == 4 + 2 * 3
    with pytest.raises(UserError, match="signal-to-noise"):
        PredictorCorrector(snr=-1)
    with pytest.raises(UserError, match="number of steps"):
        PredictorCorrector(corrections=-1)


@pytest.mark.parametrize(
    ("solver", "evaluations"),
    [(StochasticHeun(), 19), (DPMSolverPP2MSDE(), 10), (PredictorCorrector(), 19), (PredictorCorrector(Heun()), 28)],
    ids=repr,
)
def test_evaluations_are_counted(solver: Solver, evaluations: int) -> None:
    """F12, for ten steps."""
    field = three_modes(CondOT())
    solver.solve(field, noise(), UniformGrid()(10, CondOT()))
    assert field.nfe == evaluations


@pytest.mark.parametrize("shape", [(2,), (2, 3, 3), (2, 1, 2, 2), (4, 3)], ids=str)
@pytest.mark.parametrize("solver", exported_solvers(), ids=repr)
def test_a_seed_is_an_image_at_any_batch_size_and_rank(solver: Solver, shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    law, path = Gaussian(torch.linspace(-1, 1, size), 0.1 * torch.eye(size)), CondOT()

    def images(seeds: list[int]) -> Tensor:
        source = SeededNoise(seeds)
        times = UniformGrid()(6, path)
        return solver.solve(ExactField(law, path), path.initial(source.initial(shape)), times, noise=source)

    together = images([3, 7, 9, 11, 20])
    assert together.shape == (5, *shape)
    assert together.isfinite().all()
    torch.testing.assert_close(torch.cat([images([3, 7]), images([9]), images([11, 20])]), together, rtol=0, atol=1e-5)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("solver", STOCHASTIC, ids=repr)
def test_noise_where_no_score_is_known_is_refused(solver: Solver) -> None:
    """On a path of dependent pairs; and backwards in time."""
    field = ExactField(three_modes(CondOT()).distribution, CondOT().with_dependent_pairs())
    with pytest.raises(UserError, match="the score is not known"):
        solver.solve(field, noise(), grid(0.1, 0.9, 4))
    with pytest.raises(UserError, match="forwards in time"):
        solver.solve(three_modes(CondOT()), noise(), grid(0.1, 0.9, 4).flip(0))
    if isinstance(solver, (EulerMaruyama, StochasticHeun)):
        return
    for other in (LearnedField(lambda x, t: x, Interpolant(), "velocity"), BrownianMotion()):
        with pytest.raises(UserError, match=f"{type(solver).__name__} needs a Gaussian path") as refused:
            solver.solve(other, torch.ones(2, 1), torch.linspace(0, 1, 3))
        assert "\n" not in refused.value.message
