"""Schedules against their definitions, central differences and inverses (facts F1, F2)."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.every_path import PATHS

from fmlab.errors import UserError
from fmlab.paths import EDM, VE, VP, CondOT, Cosine, GaussianPath, LinearVP, Polynomial, SchrodingerBridge, Sqrt, SubVP
from fmlab.paths.base import expand_time
from fmlab.solvers import RhoGrid, UniformGrid

INSIDE = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
REACH_BOTH_ENDS = [CondOT(), Cosine(), Polynomial(2), Polynomial(3), Sqrt(), LinearVP()]
TRACE = math.exp(-0.25 * 19.9 - 0.05)  # alpha(0) of VP and SubVP
RANGES = [
    (CondOT(), -math.inf, math.inf),
    (CondOT(0.1), -math.inf, -2 * math.log(0.1)),
    (Cosine(0.8), -math.inf, -2 * math.log(0.8)),
    (Polynomial(3, 0.01), -math.inf, -2 * math.log(0.01)),
    (Sqrt(), -math.inf, math.inf),
    (VP(), 2 * math.log(TRACE) - math.log1p(-(TRACE**2)), math.inf),
    (SubVP(), 2 * math.log(TRACE) - 2 * math.log1p(-(TRACE**2)), math.inf),
    (LinearVP(), -math.inf, math.inf),
    (VE(), -2 * math.log(50), -2 * math.log(0.01)),
    (EDM(), -2 * math.log(80), -2 * math.log(0.002)),
]


def at(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_derivatives_are_exact(path: GaussianPath) -> None:
    """F1: against central differences of fourth order, and against autograd to 1e-10."""
    h = 1e-5
    for function, derivative in ((path.alpha, path.alpha_dot), (path.beta, path.beta_dot)):
        # Fourth-order central differences: truncation and rounding both stay near 1e-10 of the function's size.
        difference = (
            8 * (function(INSIDE + h) - function(INSIDE - h)) - (function(INSIDE + 2 * h) - function(INSIDE - 2 * h))
        ) / (12 * h)
        torch.testing.assert_close(derivative(INSIDE), difference, rtol=1e-8, atol=1e-8)
        t = INSIDE.clone().requires_grad_()
        value = function(t)
        if value.requires_grad:
            (slope,) = torch.autograd.grad(value.sum(), t)
            torch.testing.assert_close(derivative(INSIDE), slope, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("path", REACH_BOTH_ENDS, ids=repr)
def test_both_ends_are_reached_exactly(path: GaussianPath) -> None:
    """F1."""
    assert path.alpha(at(0)) == 0
    assert path.beta(at(0)) == 1
    assert path.alpha(at(1)) == 1
    assert path.beta(at(1)) == 0
    assert path.alpha_vanishes_at_start
    assert path.beta_vanishes_at_end


@pytest.mark.parametrize("path", [CondOT(1e-5), Cosine(1e-5), Polynomial(2, 1e-5)], ids=repr)
def test_sigma_min_is_what_is_left_at_the_end(path: GaussianPath) -> None:
    """F1: exactly, in float32 too, where 1 - (1 - sigma_min) would be wrong in the third digit."""
    for precision in (torch.float32, torch.float64):
        zero, one = torch.zeros((), dtype=precision), torch.ones((), dtype=precision)
        assert path.beta(one) == torch.tensor(1e-5, dtype=precision)
        assert (path.alpha(zero), path.beta(zero), path.alpha(one)) == (0, 1, 1)
    assert not path.beta_vanishes_at_end
    assert path.clip(torch.ones(()), "data") == 1, "nothing is divided by 0, so t = 1 is asked of the network"


def test_lipmans_beta() -> None:
    """Equation 22 of the paper: 1 - (1 - sigma_min) t."""
    torch.testing.assert_close(CondOT(0.1).beta(INSIDE), 1 - 0.9 * INSIDE, rtol=1e-14, atol=0)


def test_vp_leaves_a_trace_of_data_at_the_start() -> None:
    path = VP()
    assert path.alpha(at(0)).item() == pytest.approx(TRACE, rel=1e-12)
    assert path.alpha(at(0)).item() == pytest.approx(0.0065716, abs=1e-7)
    torch.testing.assert_close(path.alpha(INSIDE) ** 2 + path.beta(INSIDE) ** 2, torch.ones_like(INSIDE))
    noise = torch.randn(3, 2)
    torch.testing.assert_close(path.initial(noise), math.sqrt(1 - 0.0065716**2) * noise)


def test_the_relatives_of_vp() -> None:
    """F1: sub-VP has VP's alpha and the square of its beta; LinearVP keeps the variance with alpha = t."""
    torch.testing.assert_close(SubVP(0.2, 12).alpha(INSIDE), VP(0.2, 12).alpha(INSIDE), rtol=1e-14, atol=0)
    torch.testing.assert_close(SubVP(0.2, 12).beta(INSIDE), VP(0.2, 12).beta(INSIDE) ** 2, rtol=1e-13, atol=0)
    torch.testing.assert_close(LinearVP().beta(INSIDE) ** 2, 1 - INSIDE**2, rtol=1e-13, atol=0)
    assert SubVP().beta_dot(at(1)).item() == pytest.approx(-0.1), "finite, so that t = 1 need not be clipped"
    assert SubVP().clip(at(1), "velocity") == 1
    for path in (VP(), LinearVP(), Sqrt()):
        assert path.beta_dot(at(1)) == -math.inf
        assert path.clip(at(1), "velocity") < 1


def test_sqrt_has_no_fudge() -> None:
    """F40: beta' = -1 / (2 sqrt(1 - t)), with nothing added to the denominator however near the end."""
    t = 1 - torch.tensor([0.25, 1e-4, 1e-10], dtype=torch.float64)
    torch.testing.assert_close(Sqrt().beta_dot(t), at(-0.5) / torch.sqrt(1 - t), rtol=1e-14, atol=0)
    assert Sqrt().beta_dot(at(0.75)) == -1


def test_exploding_paths_are_geometric_and_edms() -> None:
    """F1, F29: VE is half-way at the geometric mean; UniformGrid on EDM visits the noise levels that EDM's own grid,
    80 to 0.002 and even in the seventh root, visits on the straight path at t = 1 / (1 + sigma)."""
    assert VE().beta(at(0.5)).item() == pytest.approx(math.sqrt(0.5), rel=1e-14)
    assert VE(0.02, 100).beta(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist() == pytest.approx([100, 0.02])
    sigmas = EDM().beta(UniformGrid()(17, EDM()))
    assert sigmas[[0, -1]].tolist() == pytest.approx([80, 0.002], rel=1e-14)
    assert (sigmas ** (1 / 7)).diff().std() < 1e-14
    torch.testing.assert_close(1 / (1 + sigmas[1:]), RhoGrid()(18, CondOT())[1:-1])
    for path, start in ((VE(), 50), (EDM(), 80)):
        noise = torch.randn(3, 2)
        torch.testing.assert_close(path.initial(noise), start * noise)
        assert (path.alpha(INSIDE) == 1).all()
        for kind in ("velocity", "score", "noise", "data"):
            assert path.clip(at(0), kind) == 0
            assert path.clip(at(1), kind) == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (CondOT(), lambda t: torch.ones_like(t)),
        (CondOT(0.1), lambda t: torch.ones_like(t)),
        (Cosine(), lambda t: torch.full_like(t, math.pi / 2)),
        (Cosine(0.1), lambda t: math.pi / 2 * (0.9 + 0.1 * torch.cos(math.pi / 2 * t))),
        (Polynomial(3), lambda t: 3 * t**2),
        (Polynomial(3, 0.1), lambda t: 3 * t**2),
        (Sqrt(), lambda t: (1 - t / 2) / torch.sqrt(1 - t)),
        (VP(), lambda t: VP().alpha_dot(t) / VP().beta(t)),
        (SubVP(), lambda t: SubVP().alpha_dot(t) * (1 + SubVP().alpha(t) ** 2)),
        (LinearVP(), lambda t: 1 / torch.sqrt(1 - t**2)),
        (VE(), lambda t: math.log(5000) * VE().beta(t)),
        (EDM(), lambda t: 7 * (80 ** (1 / 7) - 0.002 ** (1 / 7)) * EDM().beta(t) ** (6 / 7)),
    ],
    ids=lambda value: repr(value) if isinstance(value, GaussianPath) else "",
)
def test_wronskian(path: GaussianPath, expected) -> None:
    """F1: D > 0, in closed form."""
    torch.testing.assert_close(path.wronskian(INSIDE), expected(INSIDE), rtol=1e-10, atol=0)
    assert (path.wronskian(INSIDE) > 0).all()


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_log_snr_rises_and_inverts(path: GaussianPath) -> None:
    """F1, F2: strictly increasing, t(log-SNR(t)) = t, and its slope is 2 D / (alpha beta)."""
    log_snr = path.log_snr(INSIDE)
    assert (log_snr.diff() > 0).all()
    torch.testing.assert_close(path.log_snr_inverse(log_snr), INSIDE, rtol=1e-10, atol=1e-12)
    single = INSIDE.float()
    torch.testing.assert_close(path.log_snr_inverse(path.log_snr(single)), single, rtol=1e-5, atol=1e-6)
    t = INSIDE.clone().requires_grad_()
    (slope,) = torch.autograd.grad(path.log_snr(t).sum(), t)
    torch.testing.assert_close(
        slope, 2 * path.wronskian(INSIDE) / (path.alpha(INSIDE) * path.beta(INSIDE)), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_inverse_does_not_cancel_near_the_ends(path: GaussianPath) -> None:
    """F2: where alpha(0) = 0 a time of 1e-12 comes back to ten digits of itself, and 1 - 1e-6 to twelve."""
    if path.alpha_vanishes_at_start:
        small = torch.tensor([1e-12, 1e-9, 1e-5], dtype=torch.float64)
        torch.testing.assert_close(path.log_snr_inverse(path.log_snr(small)), small, rtol=1e-10, atol=0)
    late = 1 - torch.tensor([1e-6, 1e-4], dtype=torch.float64)
    torch.testing.assert_close(path.log_snr_inverse(path.log_snr(late)), late, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("path", "low", "high"), RANGES, ids=lambda value: repr(value))
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
def test_the_inverse_at_and_beyond_the_ends(
    path: GaussianPath, low: float, high: float, precision: torch.dtype
) -> None:
    """F2: the ends of the range are the ends of time; beyond them no time lies inside, and none is NaN."""
    ends = path.log_snr_inverse(torch.tensor([low, high], dtype=precision))
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0], dtype=precision), rtol=0, atol=1e-6)
    beyond = [-math.inf, -1e4, -300.0, -100.0, 100.0, 300.0, 1e4, math.inf]
    times = path.log_snr_inverse(torch.tensor(beyond, dtype=precision))
    assert not times.isnan().any()
    assert (times[:4] <= 1e-6).all()
    assert (times[4:] >= 1 - 1e-6).all()
    assert (times[1:] >= times[:-1]).all()


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_time_stays_in_float32_under_half_precision_data(path: GaussianPath) -> None:
    """bf16 rounds t = 0.999 to 1 (F35): the coefficients must not be computed in it."""
    data = torch.zeros(2, 3, dtype=torch.bfloat16)
    noise = torch.ones_like(data)
    x = path.sample(data, noise, torch.tensor([0.999, 0.998]))
    assert x.dtype == torch.float32
    assert (x[0] != x[1]).all()
    assert (x > 0).all()


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: VP(beta_min=20, beta_max=1), "VP needs 0 < beta_min"),
        (lambda: SubVP(beta_min=0), "SubVP needs 0 < beta_min"),
        (lambda: Polynomial(0.5), "degree"),
        (lambda: Polynomial(math.nan), "degree"),
        (lambda: CondOT(sigma_min=1), "CondOT needs sigma_min in"),
        (lambda: Cosine(sigma_min=-0.1), "sigma_min"),
        (lambda: VE(sigma_min=0), "VE needs 0 < sigma_min"),
        (lambda: EDM(sigma_min=90), "EDM needs 0 < sigma_min"),
        (lambda: EDM(rho=0), "rho"),
    ],
)
def test_bad_constants_are_refused(make, key: str) -> None:
    with pytest.raises(UserError, match=key):
        make()


def test_a_path_is_shown_by_its_constructors_arguments() -> None:
    """Neither flags nor what is computed from the arguments; of a subclass, its own arguments."""

    class Cubic(Polynomial):
        def __init__(self) -> None:
            super().__init__(degree=3)

    shown = {
        "CondOT(sigma_min=0.0)": CondOT(),
        "Polynomial(degree=3, sigma_min=0.1)": Polynomial(3, 0.1),
        "Sqrt()": Sqrt(),
        "VE(sigma_min=0.01, sigma_max=50.0)": VE(),
        "EDM(sigma_min=0.002, sigma_max=80.0, rho=7.0)": EDM(),
        "SchrodingerBridge(sigma=0.5)": SchrodingerBridge(0.5),
        "Cubic()": Cubic(),
    }
    for expected, path in shown.items():
        assert repr(path) == expected


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_is_the_sample_with_its_velocity(path: GaussianPath, dtype: torch.dtype) -> None:
    data, noise = torch.randn(2, 5, 3, dtype=dtype)
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    point = path.draw(data, noise, t)
    time = expand_time(t, data)
    torch.testing.assert_close(point.x, path.sample(data, noise, t))
    torch.testing.assert_close(point.velocity, path.alpha_dot(time) * data + path.beta_dot(time) * noise)
    torch.testing.assert_close(point.noise_scale, path.beta(time))


def test_times_in_bfloat16_are_clipped_in_float32() -> None:
    """The largest number below 1 in bfloat16 is 0.996: clipped in it, every late time would be 1."""
    late = torch.ones((), dtype=torch.bfloat16)
    for path in (VP(), Sqrt(), LinearVP()):
        for clipped in (path.clip(late, "velocity"), path.clip_for(late, beta=True), path.clip_exact(late)):
            assert clipped.dtype == torch.float32
            assert 0.99 < clipped < 1
        assert torch.isfinite(path.conditional_velocity(torch.ones(3), torch.ones(3), late)).all()
