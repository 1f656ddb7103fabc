"""Clipping and releasing gradients, against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from fmlab.training.optimization import clip_norm, release_gradients


def parameters(gradients: list[Tensor]) -> list[Tensor]:
    """As many parameters with these gradients, and one without."""
    made = [torch.zeros_like(gradient, requires_grad=True) for gradient in gradients]
    for parameter, gradient in zip(made, gradients):
        parameter.grad = gradient.clone()
    return [*made, torch.zeros(3, requires_grad=True)]


@pytest.mark.parametrize("norm", [0.0, 0.3, 1 - 1e-6, 1 - 2e-7, 1.0, 1 + 1e-6, 1.5, 40.0, math.inf])
def test_gradients_end_as_torch_clips_them(norm: float) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(5, 7, generator=generator), torch.randn(11, generator=generator)]
    size = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    ours, theirs = (parameters([gradient * (norm / size) for gradient in gradients]) for _ in range(2))
    clip_norm(ours, 1.0)
    clip_grad_norm_(theirs, 1.0)
    for mine, their in zip(ours[:2], theirs[:2]):
        assert mine.grad is not None
        assert their.grad is not None
        assert torch.equal(mine.grad.nan_to_num(7), their.grad.nan_to_num(7))
    assert ours[2].grad is None


def test_one_gradient_that_is_no_number_spoils_all_as_in_torch() -> None:
    ours = parameters([torch.ones(3), torch.tensor([0.1, math.nan])])
    clip_norm(ours, 1.0)
    assert all(parameter.grad.isnan().all() for parameter in ours[:2] if parameter.grad is not None)


def test_nothing_is_written_where_nothing_is_clipped() -> None:
    ours = parameters([torch.full((4,), 0.1)])
    assert ours[0].grad is not None
    version = ours[0].grad._version
    clip_norm(ours, 1.0)
    assert ours[0].grad._version == version
    clip_norm(ours, 0.1)
    assert ours[0].grad._version > version


def test_gradients_are_released_and_an_optimizer_with_a_way_of_its_own_is_asked() -> None:
    class Kept(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            super().zero_grad(set_to_none=False)

    first, second = parameters([torch.ones(2)]), parameters([torch.ones(3), torch.ones(4)])
    release_gradients(torch.optim.SGD([{"params": first}, {"params": second, "lr": 1.0}], lr=0.1))
    assert all(parameter.grad is None for parameter in [*first, *second])
    kept = parameters([torch.ones(2)])
    release_gradients(Kept(kept, lr=0.1))
    assert kept[0].grad is not None
    assert not kept[0].grad.any()
