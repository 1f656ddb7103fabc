"""Schedules against their definitions, central differences and inverses (facts F1, F2)."""

from __future__ import annotations

import math

import pytest
import torch

from fmlab.errors import UserError
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, Polynomial

PATHS = [CondOT(), Cosine(), VP(), Polynomial(2), Polynomial(3)]
INSIDE = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)


def at(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_derivatives_are_exact(path: GaussianPath) -> None:
    h = 1e-5
    for function, derivative in ((path.alpha, path.alpha_dot), (path.beta, path.beta_dot)):
        # Fourth-order central differences: truncation and rounding both stay near 1e-10.
        difference = (
            8 * (function(INSIDE + h) - function(INSIDE - h)) - (function(INSIDE + 2 * h) - function(INSIDE - 2 * h))
        ) / (12 * h)
        torch.testing.assert_close(derivative(INSIDE), difference, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("path", [CondOT(), Cosine(), Polynomial(2), Polynomial(3)], ids=repr)
def test_both_ends_are_reached_exactly(path: GaussianPath) -> None:
    assert path.alpha(at(0)) == 0
    assert path.beta(at(0)) == 1
    assert path.alpha(at(1)) == 1
    assert path.beta(at(1)) == 0


def test_vp_leaves_a_trace_of_data_at_the_start() -> None:
    path = VP()
    assert path.alpha(at(0)).item() == pytest.approx(math.exp(-0.25 * 19.9 - 0.05), rel=1e-12)
    assert path.alpha(at(0)).item() == pytest.approx(0.0065716, abs=1e-7)
    torch.testing.assert_close(path.alpha(INSIDE) ** 2 + path.beta(INSIDE) ** 2, torch.ones_like(INSIDE))
    noise = torch.randn(3, 2)
    torch.testing.assert_close(path.initial(noise), math.sqrt(1 - 0.0065716**2) * noise)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (CondOT(), lambda t: torch.ones_like(t)),
        (Cosine(), lambda t: torch.full_like(t, math.pi / 2)),
        (Polynomial(3), lambda t: 3 * t**2),
        (VP(), lambda t: VP().alpha_dot(t) / VP().beta(t)),
    ],
    ids=["CondOT", "Cosine", "Polynomial", "VP"],
)
def test_wronskian(path: GaussianPath, expected) -> None:
    torch.testing.assert_close(path.wronskian(INSIDE), expected(INSIDE), rtol=1e-10, atol=0)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_log_snr_rises_and_inverts(path: GaussianPath) -> None:
    log_snr = path.log_snr(INSIDE)
    assert (log_snr.diff() > 0).all()
    torch.testing.assert_close(path.log_snr_inverse(log_snr), INSIDE, rtol=1e-10, atol=1e-12)
    # d log-SNR / dt = 2 D / (alpha beta)
    t = INSIDE.clone().requires_grad_()
    (slope,) = torch.autograd.grad(path.log_snr(t).sum(), t)
    torch.testing.assert_close(
        slope, 2 * path.wronskian(INSIDE) / (path.alpha(INSIDE) * path.beta(INSIDE)), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_time_stays_in_float32_under_half_precision_data(path: GaussianPath) -> None:
    """bf16 rounds t = 0.999 to 1 (F35): the coefficients must not be computed in it."""
    data = torch.zeros(2, 3, dtype=torch.bfloat16)
    noise = torch.ones_like(data)
    x = path.sample(data, noise, torch.tensor([0.999, 0.998]))
    assert x.dtype == torch.float32
    assert (x[0] != x[1]).all()
    assert (x > 0).all()


def test_bad_constants_are_refused() -> None:
    with pytest.raises(UserError, match="beta_min"):
        VP(beta_min=20, beta_max=1)
    with pytest.raises(UserError, match="degree"):
        Polynomial(0.5)
