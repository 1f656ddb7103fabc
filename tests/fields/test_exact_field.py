"""Exact fields under conditions and guidance (facts F20, F21)."""

from __future__ import annotations

import pytest
import torch

from fmlab.distributions import Empirical, Gaussian, GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import ExactField, guided
from fmlab.paths import CondOT, Cosine, Interpolant
from fmlab.solvers import Euler, UniformGrid

FLOAT64 = torch.float64


def mixture() -> GaussianMixture:
    covariances = torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.2, 0.0], [0.0, 0.8]]], dtype=FLOAT64)
    return GaussianMixture([0.3, 0.7], torch.tensor([[-1.0, 0.5], [1.0, 1.0]], dtype=FLOAT64), covariances)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("path", [CondOT(), Cosine()], ids=repr)
def test_a_guided_mixture_has_the_tilted_score(path: CondOT, scale: float) -> None:
    """F21: the score of p_t(x | y)^w p_t(x)^(1 - w), by automatic differentiation of the closed-form densities."""
    law, x, t = mixture(), torch.randn(6, 2, dtype=FLOAT64), torch.tensor(0.6, dtype=FLOAT64)
    labels = torch.tensor([0, 1, 0, 0, 1, 1])
    y = x.clone().requires_grad_()
    noised = law.diffused(path.alpha(t), path.beta(t))
    of_class = torch.stack(
        [noised.restricted(label).log_density(y[row : row + 1])[0] for row, label in enumerate(labels)]
    )
    tilted = scale * of_class + (1 - scale) * noised.log_density(y)
    (expected,) = torch.autograd.grad(tilted.sum(), y)
    field = guided(ExactField(law, path, labels), scale)
    torch.testing.assert_close(field(x, t).score, expected)
    Euler().solve(field, x, UniformGrid()(5, path))
    assert field.nfe == 6 * (2 if scale == 2.5 else 1)


def test_an_exact_field_is_differentiable_and_keeps_the_type() -> None:
    laws = (mixture(), Empirical(torch.randn(20, 2), torch.arange(20) % 2, chunk_size=8))
    for law in laws:
        x = torch.randn(4, 2, requires_grad=True)
        result = ExactField(law, CondOT(), torch.tensor([0, 2, 1, 0]))(x, torch.rand(4))
        assert result.velocity.dtype == result.score.dtype == torch.float32
        result.velocity.square().sum().backward()
        assert x.grad is not None
        assert (x.grad.abs().sum(1) > 0).all()


def test_what_an_exact_field_cannot_do_is_refused() -> None:
    x, t = torch.zeros(3, 2), torch.tensor(0.5)
    with pytest.raises(UserError, match="no classes"):
        ExactField(Gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]), CondOT(), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(UserError, match="one label per point"):
        ExactField(mixture(), CondOT(), torch.tensor([0, 1]))(x, t)
    with pytest.raises(UserError, match="no class 3"):
        ExactField(mixture(), CondOT(), torch.tensor([0, 1, 3]))(x, t)
    with pytest.raises(UserError, match="Gaussian path"):
        ExactField(mixture(), Interpolant())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="without labels"):
        guided(ExactField(mixture(), CondOT()), 2.0)
