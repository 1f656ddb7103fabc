"""DDIM, DPM-Solver++ and UniPC against closed forms (facts F11-F14) and another library."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from helpers.closed_forms import double, noise, solution, three_modes
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from fmlab.distributions import Gaussian
from fmlab.errors import UserError
from fmlab.fields import ExactField, LearnedField
from fmlab.figures import BrownianMotion, LinearODE
from fmlab.paths import EDM, VE, VP, CondOT, Cosine, GaussianPath, Interpolant, LinearVP, Polynomial, Sqrt, SubVP
from fmlab.solvers import (
    DDIM,
    Dopri5,
    DPMSolverPP2M,
    DPMSolverPP2S,
    DPMSolverPP3M,
    EDMChurn,
    Euler,
    Heun,
    LogSNRGrid,
    Solver,
    UniformGrid,
    UniPC,
)
from fmlab.solvers.log_snr import exponential_weights, integral

PATHS = [CondOT(), Cosine(), Polynomial(2), Sqrt(), VP(), SubVP(), LinearVP(), VE(), EDM(), CondOT(0.01)]
SOLVERS = [DDIM(), DPMSolverPP2S(), DPMSolverPP2M(), DPMSolverPP3M(), UniPC(1), UniPC(2), UniPC(3)]
DETERMINISTIC = [*SOLVERS, EDMChurn(S_churn=0)]


def error(solver: Solver, path: type[GaussianPath], times: Tensor) -> float:
    start, end = solution(path, times[0].item(), times[-1].item())
    return (solver.solve(three_modes(path()), start, times) - end).norm().item()


def order(solver: Solver, path: type[GaussianPath], steps: int = 64, power: float = 1.0) -> float:
    """The slope of log2(error) from `steps` to twice as many between t = 0.1 and 0.9."""
    coarse, fine = (
        error(solver, path, 0.1 + 0.8 * torch.linspace(0, 1, n + 1, dtype=torch.float64) ** power)
        for n in (steps, 2 * steps)
    )
    return math.log2(coarse / fine)


@pytest.mark.parametrize("path", [CondOT, Cosine, VP])
@pytest.mark.parametrize(
    ("solver", "expected"),
    [
        (DDIM(), 1),
        (DPMSolverPP2S(), 2),
        (DPMSolverPP2M(), 2),
        (DPMSolverPP3M(), 3),
        (UniPC(1), 2),
        (UniPC(2), 3),
        (EDMChurn(S_churn=0), 2),
    ],
    ids=repr,
)
def test_order_of_convergence(solver: Solver, expected: int, path: type[GaussianPath]) -> None:
    """The slope on three Gaussians, where the log-SNR is finite; the corrector adds one to UniPC's order."""
    assert order(solver, path) == pytest.approx(expected, abs=0.15)
    assert solver.order == expected - (isinstance(solver, UniPC))


def test_order_three_of_unipc_is_limited_by_its_first_step() -> None:
    """Its steps have order 4, the first one 3."""
    assert 2.9 < order(UniPC(3), CondOT) < 4.1
    assert error(UniPC(3), CondOT, torch.linspace(0.1, 0.9, 65).double()) < 1e-4


@pytest.mark.parametrize(("solver", "expected"), [(DPMSolverPP2M(), 2), (DPMSolverPP3M(), 3), (UniPC(2), 3)], ids=repr)
def test_order_on_uneven_steps(solver: Solver, expected: int) -> None:
    assert order(solver, Cosine, power=1.4) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_solve_from_end_to_end_converges(solver: Solver) -> None:
    """From t = 0, where alpha is 0, to t = 1, where beta is."""
    coarse, fine = (error(solver, CondOT, torch.linspace(0, 1, n + 1).double()) for n in (32, 64))
    assert fine < 0.25
    assert coarse / fine > (1.8 if isinstance(solver, DDIM) else 2.6)


def test_the_last_step_before_the_end_is_not_extrapolated_into_by_a_quadratic() -> None:
    """From end to end that would make the error twice to three times as large: 0.023 and 0.029."""
    times = torch.linspace(0, 1, 33, dtype=torch.float64)
    assert error(UniPC(3), CondOT, times) < 0.01
    assert error(DPMSolverPP3M(), CondOT, times) < 0.02


@pytest.mark.parametrize(
    ("solver", "ends", "inside"),
    [
        (DDIM(), 10, 10),
        (DPMSolverPP2S(), 18, 20),
        (DPMSolverPP2M(), 10, 10),
        (DPMSolverPP3M(), 11, 11),
        (UniPC(2), 10, 10),
        (UniPC(3), 10, 10),
        (EDMChurn(S_churn=0), 18, 19),
        (EDMChurn(), 18, 19),
    ],
    ids=repr,
)
def test_evaluations_are_counted(solver: Solver, ends: int, inside: int) -> None:
    """F12, for ten steps: on a path with infinite log-SNR at both ends, and on one with finite."""
    for path, expected in ((CondOT(), ends), (VE(), inside)):
        field = three_modes(path)
        solver.solve(field, path.initial(noise()), UniformGrid()(10, path))
        assert field.nfe == expected


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("solver", DETERMINISTIC, ids=repr)
def test_a_single_point_is_reached_on_every_path(solver: Solver, path: GaussianPath) -> None:
    """F13: where the expected data do not change, any step is exact, to the end and from there back to the start."""
    point = double([1.5, -0.5])
    field = ExactField(Gaussian(point, torch.zeros(2, 2, dtype=torch.float64)), path)
    times = double([path.t_start, 0.23, 0.6, 0.71, path.t_end])
    alpha, beta = path.alpha(times)[:, None, None], path.beta(times)[:, None, None]
    exact = alpha * point + beta * noise()
    result = solver.solve(field, exact[0], times, trajectory=True)
    torch.testing.assert_close(result, exact, rtol=1e-9, atol=1e-9)


def test_ddim_is_euler_on_the_straight_path() -> None:
    """F13: the same update; on the trigonometric path the two differ by a step's error."""
    times = double([0.0, 0.3, 0.45, 0.8, 1.0])
    for path, least, most in ((CondOT(), 0, 1e-12), (Cosine(), 5e-3, 1)):
        ends = [solver.solve(three_modes(path), noise(), times) for solver in (DDIM(), Euler())]
        assert least <= (ends[0] - ends[1]).abs().max() <= most


def edm_sampler(path: GaussianPath, start: Tensor, times: Tensor, *, second: bool) -> Tensor:
    """EDM's deterministic sampler of x / alpha in sigma = beta / alpha, as its paper writes it."""
    field, sigmas = three_modes(path), path.beta(times) / path.alpha(times)
    x = start / path.alpha(times[0])
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        slope = (x - field(path.alpha(t) * x, t).data) / sigmas[i]
        ahead = x + (sigmas[i + 1] - sigmas[i]) * slope
        if second and i < len(times) - 2:
            slope = (slope + (ahead - field(path.alpha(t_next) * ahead, t_next).data) / sigmas[i + 1]) / 2
            ahead = x + (sigmas[i + 1] - sigmas[i]) * slope
        x = ahead
    return path.alpha(times[-1]) * x


@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP(), EDM(0.01, 10.0)], ids=repr)
def test_edms_samplers_on_any_path(path: GaussianPath) -> None:
    """F13: EDM's Euler is DDIM, and its Heun is EDMChurn without churn, up to the end where beta is 0."""
    times = double([0.1, 0.3, 0.45, 0.8, 1.0])
    start = path.alpha(times[0]) * 0.3 + path.beta(times[0]) * noise()
    for solver, second in ((DDIM(), False), (EDMChurn(S_churn=0), True)):
        expected = edm_sampler(path, start, times, second=second)
        torch.testing.assert_close(solver.solve(three_modes(path), start, times), expected, rtol=1e-10, atol=1e-10)


def test_churn_0_is_heun_where_time_is_the_noise_level() -> None:
    path = EDM(sigma_min=0.1, sigma_max=5.0, rho=1.0)
    ends = [
        solver.solve(three_modes(path), path.initial(noise()), UniformGrid()(12, path))
        for solver in (EDMChurn(S_churn=0), Heun())
    ]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("solver", [DDIM(), DPMSolverPP2S(), DPMSolverPP2M(), UniPC(2), UniPC(3)], ids=repr)
def test_there_and_back(solver: Solver) -> None:
    """F14: a solve from the data leads back to the noise, within the method's error."""
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    start, end = solution(CondOT, 0, 1)
    back = solver.solve(three_modes(CondOT()), end, times.flip(0))
    assert (back - start).square().mean().sqrt() < (0.05 if isinstance(solver, DDIM) else 0.01)


@pytest.mark.parametrize("kind", ["velocity", "noise", "score", "data"])
def test_any_prediction_gives_the_same_samples(kind: str) -> None:
    path, times = VP(), torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    exact = three_modes(path)
    learned = LearnedField(lambda x, t: getattr(exact(x, t.double()), kind), path, kind)  # type: ignore[arg-type]
    for solver in (DPMSolverPP2S(), UniPC(2)):
        ends = [solver.solve(field, noise(), times.float().double()) for field in (exact, learned)]
        torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", DETERMINISTIC, ids=repr)
def test_other_paths_are_refused_in_one_line(solver: Solver) -> None:
    flow = LearnedField(lambda x, t: torch.zeros_like(x), Interpolant(), "velocity")
    for field, message in (
        (flow, "Interpolant"),
        (LinearODE([[1.0]]), "no path"),
        (BrownianMotion(), "has noise|no path"),
    ):
        with pytest.raises(UserError, match=message) as refused:
            solver.solve(field, torch.ones(2, 1), torch.linspace(0, 1, 3))
        assert "\n" not in str(refused.value.message)
    with pytest.raises(UserError, match=f"{type(solver).__name__} needs a Gaussian path, here is Interpolant"):
        solver.solve(flow, torch.ones(2, 1), torch.linspace(0, 1, 3))


def test_dependent_pairs_keep_their_flow() -> None:
    """No score is known, and none is needed without noise."""
    path = CondOT()
    for solver in DETERMINISTIC:
        field = ExactField(three_modes(path).distribution, path.with_dependent_pairs())
        assert solver.solve(field, noise(), UniformGrid()(4, path)).isfinite().all()


@pytest.mark.parametrize("solver", [DPMSolverPP2M(), DPMSolverPP3M(), UniPC(2), UniPC(3)], ids=repr)
def test_a_sudden_step_is_not_extrapolated_into(solver: Solver) -> None:
    """A last step in log-SNR many times as long as the one before is a DDIM step."""
    path = CondOT(sigma_min=1e-4)
    times = torch.cat([LogSNRGrid(0.05)(20, path)[:-1], double([path.t_end])])
    states = solver.solve(three_modes(path), noise(), times, trajectory=True)
    assert (path.log_snr(times[-2:]).diff() > 10 * path.log_snr(times[-3:-1]).diff()).all()
    expected = DDIM().solve(three_modes(path), states[-2], times[-2:])
    tolerance = 0.01 if isinstance(solver, UniPC) else 1e-12  # which corrects the state first
    torch.testing.assert_close(states[-1], expected, rtol=0, atol=tolerance)


def test_the_past_is_that_of_one_solve() -> None:
    times = UniformGrid()(8, CondOT())
    for solver in (DPMSolverPP2M(), DPMSolverPP3M(), UniPC(3)):
        first = solver.solve(three_modes(CondOT()), noise(), times)
        solver.solve(three_modes(Cosine()), noise() + 1, times)
        assert torch.equal(solver.solve(three_modes(CondOT()), noise(), times), first)
    assert repr(UniPC()) == "UniPC(order=2)"
    assert repr(DPMSolverPP3M()) == "DPMSolverPP3M()"
    with pytest.raises(UserError, match="order 1, 2 or 3, got 4"):
        UniPC(4)


def test_times_that_float32_cannot_tell_apart() -> None:
    times = double([0.0, 0.5, 0.5 + 1e-10, 0.8, 1.0])
    for solver in DETERMINISTIC:
        end = solver.solve(three_modes(CondOT()), noise().float(), times)
        expected = solver.solve(three_modes(CondOT()), noise(), times[[0, 1, 3, 4]])
        torch.testing.assert_close(end.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("h", [-3.0, -0.4, 1e-3, 0.3, 2.0, 9.0])
def test_weights_integrate_polynomials_exactly(h: float) -> None:
    """Against Gauss-Legendre quadrature; a line counts by its value half-way."""
    nodes, weights = (double(part) for part in leggauss(40))
    at, weights = h / 2 * (nodes + 1), h / 2 * weights
    for k in range(4):
        quadrature = (weights * torch.exp(at - h) * at**k).sum().item()
        assert integral(k, h) == pytest.approx(quadrature, rel=1e-11)
    for points in ([0.0], [-0.3 * h, 0.0], [-1.1 * h, -0.3 * h, 0.0], [-2.0 * h, -1.1 * h, 0.0, h]):
        result = exponential_weights(points, h)
        for k in range(len(points)):
            value = sum(w * p**k for w, p in zip(result, points))
            exact = integral(0, h) * (h / 2) ** k if len(points) == 2 else integral(k, h)
            assert value == pytest.approx(exact, rel=1e-9)


def flow_scheduler(name: str, **settings: object):
    diffusers = pytest.importorskip("diffusers")
    scheduler = getattr(diffusers, name)(
        prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2, lower_order_final=True, **settings
    )
    scheduler.set_timesteps(8)
    return scheduler


@pytest.mark.parametrize(
    ("solver", "scheduler", "settings"),
    [
        (DPMSolverPP2M(), "DPMSolverMultistepScheduler", {"final_sigmas_type": "zero"}),
        (UniPC(2), "UniPCMultistepScheduler", {"final_sigmas_type": "zero", "solver_type": "bh2"}),
    ],
    ids=["DPMSolverPP2M", "UniPC"],
)
def test_the_same_numbers_as_diffusers(solver: Solver, scheduler: str, settings: dict[str, str]) -> None:
    other, field, x = flow_scheduler(scheduler, **settings), three_modes(CondOT()), noise()
    times = 1 - other.sigmas.double()
    for step, t in zip(other.timesteps, times):
        x = other.step(-field(x, t).velocity, step, x).prev_sample  # their velocity points to the noise
    result = solver.solve(three_modes(CondOT()), noise(), times)
    torch.testing.assert_close(x, result, rtol=0, atol=1e-5)


def test_multistep_against_a_converged_solve_of_another_kind() -> None:
    """The methods converge to the flow's own solution, not to one of theirs."""
    start, end = solution(CondOT, 0, 1)
    adaptive = Dopri5(1e-9, 1e-9).solve(three_modes(CondOT()), start, double([0.0, 1.0]))
    torch.testing.assert_close(end, adaptive, rtol=0, atol=1e-6)
