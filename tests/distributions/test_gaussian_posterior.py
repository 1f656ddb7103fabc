"""The posterior of noised Gaussians and mixtures against the laws it belongs to (facts F4, F5, F7, F8, F9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fmlab.distributions import Gaussian, GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import ExactField
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, Polynomial

FLOAT64 = torch.float64
PATHS = [CondOT(), Cosine(), Polynomial(3), VP()]
TIMES = (0.2, 0.5, 0.8)


def modes() -> GaussianMixture:
    """Three modes in space, no two covariances with the same axes."""
    generator = torch.Generator().manual_seed(3)
    factor = torch.randn(3, 3, 3, generator=generator, dtype=FLOAT64)
    means = 1.5 * torch.randn(3, 3, generator=generator, dtype=FLOAT64)
    return GaussianMixture([0.5, 0.2, 0.3], means, 0.2 * factor @ factor.mT + 0.05 * torch.eye(3, dtype=FLOAT64))


def flat() -> GaussianMixture:
    """A point, a line and a plane: no component has a density of its own."""
    variances = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.5, 0.3, 0.0]], dtype=FLOAT64)
    return GaussianMixture([1.0, 1.0, 1.0], modes().means, torch.diag_embed(variances))


def points(n: int = 9) -> Tensor:
    return 1.5 * torch.randn(n, 3, generator=torch.Generator().manual_seed(4), dtype=FLOAT64)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("law", [modes(), flat()], ids=["modes", "flat"])
def test_the_field_carries_the_law(path: GaussianPath, law: GaussianMixture) -> None:
    """F9: dp/dt + div(p v) = 0, with the density and its derivatives from `diffused`, not from the field."""
    field, changes = ExactField(law, path), []
    for time in TIMES:
        for x in points():
            t = torch.tensor(time, dtype=FLOAT64, requires_grad=True)
            y = x.clone().requires_grad_()
            density = law.diffused(path.alpha(t), path.beta(t)).log_density(y[None]).exp()
            dp_dt, dp_dx = torch.autograd.grad(density, (t, y))
            velocity = field(x[None], t.detach()).velocity[0]
            divergence = torch.autograd.functional.jacobian(_velocity(field, t.detach()), x).trace()
            assert abs(dp_dt + dp_dx @ velocity + density.detach() * divergence) < 2e-8
            changes.append(abs(dp_dt).item())
    assert max(changes) > 1e-3, "the terms must not all be small"


def _velocity(field: ExactField, t: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: field(x[None], t).velocity[0]


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("law", [modes(), flat()], ids=["modes", "flat"])
def test_the_four_quantities_are_one(path: GaussianPath, law: GaussianMixture) -> None:
    """F4 and F5: v = a'/a x + b D/a s = b'/b x + D/b z = a'/a x - D/a eps, and z = (x + b^2 s)/a."""
    x = points()
    for time in TIMES:
        t = torch.tensor(time, dtype=FLOAT64)
        a, b, da, db, d = (f(t) for f in (path.alpha, path.beta, path.alpha_dot, path.beta_dot, path.wronskian))
        result = ExactField(law, path)(x, t)
        for other in (
            da / a * x + b * d / a * result.score,
            db / b * x + d / b * result.data,
            da / a * x - d / a * result.noise,
        ):
            torch.testing.assert_close(result.velocity, other, rtol=1e-13, atol=1e-12)
        torch.testing.assert_close(result.data, (x + b**2 * result.score) / a, rtol=1e-13, atol=1e-12)
        noised = law.diffused(a, b)
        torch.testing.assert_close(result.score, noised.score(x), rtol=1e-12, atol=1e-12)


def test_the_ends_of_time() -> None:
    """F7: at t = 0 nothing of the data is in x; at t = 1 nothing but data, where there is a density."""
    law, x = modes(), points()
    for path in (CondOT(), Cosine()):
        start, end = (ExactField(law, path)(x, torch.tensor(time, dtype=FLOAT64)) for time in (0.0, 1.0))
        torch.testing.assert_close(start.data, law.mean.expand_as(x))
        torch.testing.assert_close(start.score, -x)
        torch.testing.assert_close(end.data, x)
        torch.testing.assert_close(end.noise, torch.zeros_like(x))
        torch.testing.assert_close(end.score, law.score(x))
        slope = path.alpha_dot(torch.tensor(1.0, dtype=FLOAT64))
        torch.testing.assert_close(end.velocity, slope * x, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, FLOAT64])
def test_a_singular_law_without_noise_gives_numbers(dtype: torch.dtype) -> None:
    """A point stays where it is, and a line keeps what lies along it."""
    one, zero = torch.ones(1, 1, dtype=dtype), torch.zeros(1, 1, dtype=dtype)
    point = Gaussian([1.0, 2.0], [[0.0, 0.0], [0.0, 0.0]])
    line = Gaussian([1.0, 2.0], [[0.5, 0.0], [0.0, 0.0]])
    x = torch.tensor([[3.0, 2.0]], dtype=dtype)
    for law, expected in ((point, [[1.0, 2.0]]), (line, [[3.0, 2.0]])):
        data, noise, _ = law.posterior(x, one, zero)
        torch.testing.assert_close(data, torch.tensor(expected, dtype=dtype))
        assert (noise == 0).all()


def test_components_are_classes() -> None:
    law, x = modes(), points()
    for label in range(3):
        alone = Gaussian(law.means[label], law.covariances[label])
        torch.testing.assert_close(law.restricted(label).log_density(x), alone.log_density(x))
    for wrong in (-1, 3):
        with pytest.raises(UserError, match="no class"):
            law.restricted(wrong)
    with pytest.raises(UserError, match="no class"):
        law.restricted(0).restricted(0)
