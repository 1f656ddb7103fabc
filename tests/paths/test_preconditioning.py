"""EDM's preconditioning on every path (fact F29)."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.every_path import PATHS

from fmlab.errors import UserError
from fmlab.fields import LearnedField
from fmlab.paths import EDM, VE, CondOT, EDMPreconditioning, GaussianPath, Polynomial, Prediction, expand_time

INSIDE = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)


@pytest.mark.parametrize("path", [VE(), EDM()], ids=repr)
@pytest.mark.parametrize("deviation", [0.5, 1.3])
def test_the_coefficients_are_the_papers(path: GaussianPath, deviation: float) -> None:
    """F29, table 1: where alpha = 1 and beta = sigma; and the loss weight lambda(sigma) times c_out^2 is 1."""
    sigma, edm = path.beta(INSIDE), EDMPreconditioning(deviation)
    total = sigma**2 + deviation**2
    torch.testing.assert_close(edm.c_skip(INSIDE, path) * total, torch.full_like(sigma, deviation**2))
    torch.testing.assert_close(edm.c_in(INSIDE, path) ** 2 * total, torch.ones_like(sigma))
    torch.testing.assert_close(edm.c_out(INSIDE, path), sigma * deviation / torch.sqrt(total))
    weight = total / (sigma * deviation) ** 2
    torch.testing.assert_close(weight * edm.c_out(INSIDE, path) ** 2, torch.ones_like(sigma))


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_input_and_target_have_unit_variance(path: GaussianPath) -> None:
    """F29: for data of that standard deviation, by the variances of independent z and eps; and c_skip is the best."""
    sd, edm = 0.7, EDMPreconditioning(0.7)
    alpha, beta = path.alpha(INSIDE), path.beta(INSIDE)
    c_in, c_skip, c_out = (c(INSIDE, path) for c in (edm.c_in, edm.c_skip, edm.c_out))
    one = torch.ones_like(alpha)
    torch.testing.assert_close(c_in**2 * (alpha**2 * sd**2 + beta**2), one)

    def effective(skip: torch.Tensor) -> torch.Tensor:
        """The variance of z - skip x, which the network has to supply."""
        return (1 - skip * alpha) ** 2 * sd**2 + skip**2 * beta**2

    torch.testing.assert_close(effective(c_skip) / c_out**2, one)
    for other in (c_skip + 1e-3, c_skip - 1e-3):
        assert (effective(other) > effective(c_skip)).all()


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_velocity_is_that_of_the_expected_data(path: GaussianPath) -> None:
    """c_skip x + c_out F, converted, is the form that divides by nothing; which is finite at both ends."""
    torch.manual_seed(0)
    x, output = torch.randn(2, 25, 3, 2, dtype=torch.float64)
    edm, s = EDMPreconditioning(0.5), expand_time(INSIDE, x)
    result = edm.prediction(output, x, INSIDE, path)
    data = edm.c_skip(s, path) * x + edm.c_out(s, path) * output
    torch.testing.assert_close(result.data, data, rtol=1e-10, atol=1e-10)
    velocity = Prediction(path, x, INSIDE, "data", data).velocity
    torch.testing.assert_close(result.velocity, velocity, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(edm.input(x, INSIDE, path) * torch.sqrt(edm.variance(s, path)), x)
    for time in (0.0, 1.0):
        t = path.clip(torch.tensor(time, dtype=torch.float64), "velocity")
        assert torch.isfinite(edm.prediction(output, x, t, path).velocity).all()


@pytest.mark.parametrize("flow", [CondOT(), CondOT(0.001), Polynomial(2)], ids=repr)
def test_the_denoiser_is_the_flows_expected_data(flow: GaussianPath) -> None:
    """F29: D_edm(x, sigma) = z(alpha x, t) where beta / alpha = sigma; on the straight path t = 1 / (1 + sigma)."""
    torch.manual_seed(0)
    edm, path = EDMPreconditioning(0.5), EDM()
    t_edm = torch.linspace(0.05, 0.9, 7, dtype=torch.float64)
    sigma = path.beta(t_edm)
    t = flow.log_snr_inverse(-2 * torch.log(sigma))
    if repr(flow) == repr(CondOT()):
        torch.testing.assert_close(t, 1 / (1 + sigma))
    x = (0.5 + sigma[:, None]) * torch.randn(7, 4, dtype=torch.float64)
    scaled = flow.alpha(t)[:, None] * x
    seen: list[torch.Tensor] = []

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return torch.sin(3 * x) + x.flip(1)

    denoised = LearnedField(network, path, edm)(x, t_edm).data
    torch.testing.assert_close(LearnedField(network, flow, edm)(scaled, t).data, denoised, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(*seen)
    total = sigma[:, None] ** 2 + 0.25
    expected = 0.25 / total * x + 0.5 * sigma[:, None] / torch.sqrt(total) * network(x / torch.sqrt(total), t)
    torch.testing.assert_close(denoised, expected, rtol=1e-9, atol=1e-9)


def test_the_best_network_of_a_gaussian_is_zero() -> None:
    """For N(0, sigma_data^2) the skip connection alone denoises, so zero output is the exact field."""
    edm, path = EDMPreconditioning(0.5), CondOT()
    x, t = torch.randn(6, 3, dtype=torch.float64), torch.linspace(0, 1, 6, dtype=torch.float64)
    result = edm.prediction(torch.zeros_like(x), x, t, path)
    s = t[:, None]
    torch.testing.assert_close(result.velocity, (s * 0.25 - (1 - s)) / (s**2 * 0.25 + (1 - s) ** 2) * x)


def test_a_deviation_is_positive() -> None:
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(UserError, match="sigma_data"):
            EDMPreconditioning(wrong)
    assert repr(EDMPreconditioning(0.3)) == "EDMPreconditioning(sigma_data=0.3)"
