"""A kernel density is the mixture of Gaussians that its definition says."""

from __future__ import annotations

import pytest
import torch

from fmlab.distributions import GaussianMixture, KernelDensity, Moons
from fmlab.errors import UserError

CENTRES = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHTS = torch.linspace(1, 3, 30, dtype=torch.float64)
H = 0.3
POINTS = torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def law() -> KernelDensity:
    return KernelDensity(CENTRES, H, WEIGHTS)


@pytest.fixture
def mixture() -> GaussianMixture:
    return GaussianMixture(WEIGHTS, CENTRES, H**2 * torch.eye(2, dtype=torch.float64).expand(30, 2, 2))


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (0.3, 0.7), (1.0, 0.0), (1.0, 50.0)])
def test_it_is_that_mixture(law: KernelDensity, mixture: GaussianMixture, alpha: float, beta: float) -> None:
    factors = [torch.full((50, 1), value, dtype=torch.float64) for value in (alpha, beta)]
    for result, exact in zip(law.posterior(POINTS, *factors), mixture.posterior(POINTS, *factors)):
        torch.testing.assert_close(result, exact, rtol=1e-9, atol=1e-10)
    at_t, exact_t = law.diffused(alpha, beta), mixture.diffused(alpha, beta)
    torch.testing.assert_close(at_t.log_density(POINTS), exact_t.log_density(POINTS))
    torch.testing.assert_close(at_t.score(POINTS), exact_t.score(POINTS))


def test_the_density_on_a_grid(law: KernelDensity) -> None:
    x, y = torch.linspace(-2, 2, 7), torch.linspace(-1, 3, 5)
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2).double()
    torch.testing.assert_close(law.density_on_grid(x, y), law.log_density(places).exp().view(5, 7))


def test_samples_have_its_moments(law: KernelDensity, mixture: GaussianMixture) -> None:
    x = law.sample(100_000, torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(x.mean(0), mixture.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(torch.cov(x.T), mixture.covariance, rtol=0, atol=0.03)


def test_cells_keep_mean_and_classes() -> None:
    x, labels = Moons().sample_labelled(20_000, torch.Generator().manual_seed(0))
    law = KernelDensity.binned(x, labels)
    assert len(law.points) < 1500
    torch.testing.assert_close(law.weights @ law.points, x.double().mean(0))
    assert law.num_classes == 2
    for label in (0, 1):
        mine = law.restricted(label)
        torch.testing.assert_close(mine.weights @ mine.points, x[labels == label].double().mean(0))
    drawn, classes = law.sample_labelled(500, torch.Generator().manual_seed(1))
    nearest = torch.cdist(drawn.double(), law.points).argmin(1)
    assert law.labels is not None
    assert (law.labels[nearest] == classes).double().mean() > 0.97


def test_mistakes() -> None:
    for arguments in ((CENTRES[0], H), (CENTRES, 0.0), (CENTRES, H, WEIGHTS[:3]), (CENTRES, H, -WEIGHTS)):
        with pytest.raises(UserError):
            KernelDensity(*arguments)
    with pytest.raises(UserError, match="no law of its own"):
        KernelDensity(CENTRES, H).restricted(0)
