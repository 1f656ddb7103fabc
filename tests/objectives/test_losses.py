"""The pseudo-Huber loss (Song and Dhariwal 2024) between its limits."""

from __future__ import annotations

import math

import pytest
import torch

from fmlab.errors import UserError
from fmlab.objectives import PseudoHuber, SquaredError


def error(scale: float, *shape: int) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_between_square_and_root() -> None:
    """Small errors: SquaredError / 2c; large ones: its root; in between the published formula over sqrt(d)."""
    c = 0.1
    small, middle, large = (error(scale, 5, 3, 4) for scale in (1e-5, 0.1, 1e5))
    torch.testing.assert_close(PseudoHuber(c)(small), SquaredError()(small) / (2 * c), rtol=1e-6, atol=0)
    torch.testing.assert_close(PseudoHuber(c)(large), SquaredError()(large).sqrt() - c, rtol=1e-9, atol=0)
    published = torch.sqrt(middle.flatten(1).norm(dim=1) ** 2 + c**2 * 12) - c * math.sqrt(12)
    torch.testing.assert_close(PseudoHuber(c)(middle) * math.sqrt(12), published)


def test_small_errors_do_not_cancel_in_float32() -> None:
    tiny = error(1e-6, 5, 3).float()
    exact = PseudoHuber()(tiny.double())
    torch.testing.assert_close(PseudoHuber()(tiny).double(), exact, rtol=1e-5, atol=0)
    assert PseudoHuber()(torch.zeros(2, 3)).tolist() == [0, 0]


@pytest.mark.parametrize("entries", [1, 48])
def test_the_gradient_is_bounded(entries: int) -> None:
    """A sample's gradient has norm below 1 / sqrt(d) however large its error, and nearly that where it is large."""
    for scale in (0.0, 1e-4, 1.0, 1e4):
        e = error(scale, 20, entries).requires_grad_()
        (gradient,) = torch.autograd.grad(PseudoHuber()(e).sum(), e)
        norms = gradient.norm(dim=1) * math.sqrt(entries)
        assert (norms <= 1 + 1e-12).all()
        if scale == 1e4:
            assert (norms > 0.99).all()
        if scale == 0:
            assert (gradient == 0).all()


def test_size_and_order_of_entries_do_not_matter() -> None:
    """As for SquaredError: repeating the entries of an event changes nothing."""
    once = error(0.3, 4, 6)
    for loss in (PseudoHuber(0.2), SquaredError()):
        torch.testing.assert_close(loss(once), loss(once.repeat(1, 8).view(4, 3, 4, 4)))


def test_c_is_positive() -> None:
    with pytest.raises(UserError, match="c > 0"):
        PseudoHuber(0)
