"""The field of pairs against the mixture that it is, and against the path's own draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fmlab.distributions import EightGaussians, GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import PairedField
from fmlab.paths import CondOT, Cosine, Interpolant, ProbabilityPath, SchrodingerBridge

PATHS = [CondOT(), Interpolant(Cosine()), SchrodingerBridge(sigma=0.8)]
H = 0.2


def pairs(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = EightGaussians().sample(n, generator).double()
    return z, torch.randn(n, 2, generator=generator, dtype=torch.float64) + 0.3 * z


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_velocity_solves_the_continuity_equation(path: ProbabilityPath) -> None:
    """dp/dt + div(p v) = 0 for the law of the same pairs, by central differences; the score is its gradient."""
    field, t, step = PairedField(path, *pairs(12), H), torch.tensor(0.4, dtype=torch.float64), 1e-4
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def density(x: Tensor, t: Tensor) -> Tensor:
        return field.law(t).log_density(x).exp()

    change = (density(x, t + step) - density(x, t - step)) / (2 * step)
    outflow = torch.zeros(20, dtype=torch.float64)
    for axis in range(2):
        aside = step * torch.eye(2, dtype=torch.float64)[axis]
        fluxes = [density(y, t) * field(y, t).velocity[:, axis] for y in (x + aside, x - aside)]
        outflow += (fluxes[0] - fluxes[1]) / (2 * step)
        slope = (field.law(t).log_density(x + aside) - field.law(t).log_density(x - aside)) / (2 * step)
        torch.testing.assert_close(field(x, t).score[:, axis], slope, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(change + outflow, torch.zeros_like(change), rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_its_law_is_that_of_the_paths_draws(path: ProbabilityPath) -> None:
    data, source = pairs(20_000)
    generator, t = torch.Generator().manual_seed(2), torch.tensor(0.6, dtype=torch.float64)
    noise, blur = (torch.randn(20_000, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    drawn = path.draw(data, source, t.expand(20_000), noise).x + H * blur
    law = PairedField(path, data, source, H).law(t)
    mixture = GaussianMixture(
        law.weights, law.points, law.bandwidth**2 * torch.eye(2, dtype=torch.float64).expand(20_000, 2, 2)
    )
    torch.testing.assert_close(torch.cov(drawn.T), mixture.covariance, rtol=0, atol=0.03)


def test_each_point_has_its_own_time() -> None:
    field, x = PairedField(SchrodingerBridge(), *pairs(10), H), torch.randn(3, 2, dtype=torch.float64)
    times = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    together = field(x, times).velocity
    alone = torch.cat([field(x[i : i + 1], times[i]).velocity for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert field(x.float(), times).velocity.dtype == torch.float32


def test_mistakes() -> None:
    data, source = pairs(4)
    with pytest.raises(UserError, match="equal shapes"):
        PairedField(CondOT(), data, source[:3], H)
    with pytest.raises(UserError, match="positive"):
        PairedField(CondOT(), data, source, 0.0)
