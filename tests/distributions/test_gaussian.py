"""Gaussians and mixtures against quadrature, automatic differentiation and samples."""

from __future__ import annotations

import math

import pytest
import torch

from fmlab.distributions import Gaussian, GaussianMixture
from fmlab.errors import UserError

FLOAT64 = torch.float64


def gaussian() -> Gaussian:
    return Gaussian(torch.tensor([1.0, -2.0], dtype=FLOAT64), torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=FLOAT64))


def mixture() -> GaussianMixture:
    return GaussianMixture(
        torch.tensor([3.0, 1.0], dtype=FLOAT64),
        torch.tensor([[-1.0, 0.5], [2.0, 1.0]], dtype=FLOAT64),
        torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.2, 0.0], [0.0, 0.8]]], dtype=FLOAT64),
    )


def in_space() -> GaussianMixture:
    """In three dimensions, where a matrix of eigenvectors is not its own transpose."""
    factors = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(8), dtype=FLOAT64)
    means = torch.tensor([[0.0, 1.0, -1.0], [0.5, -1.0, 0.0]], dtype=FLOAT64)
    return GaussianMixture([1.0, 2.0], means, factors @ factors.mT + 0.1 * torch.eye(3, dtype=FLOAT64))


def points(n: int = 7, dimension: int = 2) -> torch.Tensor:
    return torch.randn(n, dimension, generator=torch.Generator().manual_seed(5), dtype=FLOAT64) * 2


def test_gaussian_log_density_is_torchs() -> None:
    law = gaussian()
    reference = torch.distributions.MultivariateNormal(law.mean, law.covariance)
    torch.testing.assert_close(law.log_density(points()), reference.log_prob(points()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("law", "weights"), [(mixture(), [0.75, 0.25]), (in_space(), [1 / 3, 2 / 3])])
def test_mixture_log_density_is_torchs(law: GaussianMixture, weights: list[float]) -> None:
    parts = torch.distributions.MultivariateNormal(law.means, law.covariances)
    shares = torch.distributions.Categorical(torch.tensor(weights, dtype=FLOAT64))
    reference = torch.distributions.MixtureSameFamily(shares, parts)
    x = points(7, law.shape[0])
    torch.testing.assert_close(law.log_density(x), reference.log_prob(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("law", [gaussian(), mixture(), in_space(), in_space().diffused(0.7, 0.4)])
def test_score_is_the_gradient_of_the_log_density(law: GaussianMixture) -> None:
    x = points(7, law.shape[0]).requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_density(x).sum(), x)
    torch.testing.assert_close(law.score(x.detach()), gradient, rtol=1e-11, atol=1e-11)


def test_score_far_from_every_mode_is_finite() -> None:
    assert mixture().score(torch.full((1, 2), 1e3, dtype=FLOAT64)).isfinite().all()


def test_samples_have_the_stated_moments() -> None:
    n = 200_000
    for law in (gaussian(), mixture(), mixture().diffused(0.7, 0.4), in_space()):
        x = law.sample(n, torch.Generator().manual_seed(0))
        bound = 6 * law.covariance.diagonal().max().sqrt().item() / math.sqrt(n)
        torch.testing.assert_close(x.mean(0), law.mean, rtol=0, atol=bound)
        torch.testing.assert_close(x.T.cov(), law.covariance, rtol=0.02, atol=0.03)


@pytest.mark.parametrize("law", [gaussian(), mixture()])
def test_diffused_is_the_law_of_noised_samples(law: GaussianMixture) -> None:
    alpha, beta, n = 0.6, 0.8, 200_000
    generator = torch.Generator().manual_seed(1)
    x = alpha * law.sample(n, generator) + beta * torch.randn(n, 2, generator=generator, dtype=FLOAT64)
    noised = law.diffused(alpha, beta)
    assert type(noised) is type(law)
    torch.testing.assert_close(x.mean(0), noised.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(x.T.cov(), noised.covariance, rtol=0.02, atol=0.02)
    # The entropy looks beyond two moments: the mean of log p over its own samples is the same for both sets of points.
    other = noised.sample(n, torch.Generator().manual_seed(2))
    entropies = noised.log_density(x).mean(), noised.log_density(other).mean()
    torch.testing.assert_close(*entropies, rtol=0, atol=0.02)


def test_diffusing_twice_is_diffusing_once() -> None:
    twice, once = mixture().diffused(0.5, 0.3).diffused(0.9, 0.2), mixture().diffused(0.45, math.hypot(0.27, 0.2))
    torch.testing.assert_close(twice.log_density(points()), once.log_density(points()), rtol=1e-12, atol=1e-12)


def test_only_noise_is_standard_normal_and_no_noise_is_the_law_itself() -> None:
    standard = torch.distributions.Normal(torch.zeros(2, dtype=FLOAT64), 1.0)
    torch.testing.assert_close(mixture().diffused(0.0, 1.0).log_density(points()), standard.log_prob(points()).sum(-1))
    torch.testing.assert_close(mixture().diffused(1.0, 0.0).log_density(points()), mixture().log_density(points()))


def test_responsibilities_sum_to_one_and_mark_the_component() -> None:
    x, label = mixture().sample_labelled(4000, torch.Generator().manual_seed(3))
    share = mixture().responsibilities(x)
    torch.testing.assert_close(share.sum(-1), torch.ones(4000, dtype=FLOAT64))
    # A calibrated posterior gives the component drawn, on average, the probability sum_k r_k^2.
    given = share.gather(1, label.unsqueeze(1)).mean()
    torch.testing.assert_close(given, share.square().sum(-1).mean(), rtol=0, atol=0.01)
    assert abs((label == 0).double().mean().item() - 0.75) < 0.03


def test_a_point_mass_is_sampled_and_noised_but_has_no_density() -> None:
    point = Gaussian([1.0, 2.0], [[0.0, 0.0], [0.0, 0.0]])
    assert (point.sample(3) == torch.tensor([1.0, 2.0])).all()
    with pytest.raises(UserError, match="no density"):
        point.log_density(torch.zeros(1, 2))
    expected = torch.distributions.Normal(torch.tensor([0.5, 1.0]), 0.1).log_prob(torch.ones(1, 2)).sum(-1)
    torch.testing.assert_close(point.diffused(0.5, 0.1).log_density(torch.ones(1, 2)), expected)


def test_numbers_keep_their_double_precision() -> None:
    law = GaussianMixture([0.3, 0.7], torch.zeros(2, 2, dtype=FLOAT64), [[[0.1, 0.0], [0.0, 0.1]]] * 2)
    assert law.weights[0].item() == 0.3
    assert law.variances.max().item() == 0.1
    assert Gaussian(torch.zeros(1, dtype=FLOAT64), [[0.1]]).diffused(0.0, 0.1).variances.item() == 0.1**2


def test_dtype_and_seed() -> None:
    assert gaussian().sample(2).dtype == FLOAT64
    assert Gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]).sample(2).dtype == torch.float32
    draws = [mixture().sample(5, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5)]
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])
    assert mixture().score(points().float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("weights", "means", "covariances"),
    [
        ([1.0], [[0.0, 0.0], [1.0, 1.0]], [[[1.0, 0.0], [0.0, 1.0]]] * 2),
        ([1.0, -1.0], [[0.0, 0.0], [1.0, 1.0]], [[[1.0, 0.0], [0.0, 1.0]]] * 2),
        ([1.0], [[0.0, 0.0]], [[[1.0, 0.0, 0.0]]]),
        ([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.0, 1.0]]]),
        ([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]]),
    ],
)
def test_what_is_no_mixture_is_refused_in_one_line(weights: list, means: list, covariances: list) -> None:
    with pytest.raises(UserError) as caught:
        GaussianMixture(weights, means, covariances)
    assert "\n" not in str(caught.value)


def test_a_gaussian_has_no_classes() -> None:
    assert gaussian().num_classes is None
    with pytest.raises(UserError, match="no classes"):
        gaussian().sample_labelled(3)
