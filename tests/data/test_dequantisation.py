"""Cells of grey levels against the rounding rule, and the bits that they add (fact F23)."""

from __future__ import annotations

import math

import pytest
import torch

from fmlab.data import CIFAR10, Digits, GreyLevels, to_float, to_uint8
from fmlab.errors import UserError

EVERY = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)


def test_dequantised_images_round_back_to_themselves() -> None:
    """Anywhere within its cell a pixel is the same uint8."""
    images = EVERY.expand(256, 1, 8, 8)
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_uint8(GreyLevels().dequantised(images, uniform)), images)
    middle = GreyLevels().dequantised(images, torch.full(images.shape, 0.5))
    assert torch.allclose(middle, to_float(images), atol=1e-7)


def test_cells_tile_the_line() -> None:
    """Each ends where the next begins, those of the digits' seventeen levels too."""
    for levels in (GreyLevels(), GreyLevels(Digits.grey_levels)):
        values = torch.tensor(levels.values, dtype=torch.uint8).view(-1, 1)
        low = levels.dequantised(values, torch.zeros(values.shape))
        high = levels.dequantised(values, torch.ones(values.shape))
        assert torch.allclose(low[1:], high[:-1], atol=1e-6)
        volume = levels.log_volume(values).exp()
        assert (high - low).squeeze(1).double() == pytest.approx(volume, abs=1e-6)


def test_the_bits_of_a_uniform_law() -> None:
    """F23: log2(127.5) = 6.99435 bits beside the density's, 8 in all for a density as wide as all cells."""
    images = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    nothing = GreyLevels().bits_per_dimension(torch.zeros(5, dtype=torch.float64), images)
    assert nothing == pytest.approx(torch.full((5,), 6.99435).double(), abs=1e-5)
    spread = torch.full((5,), -48 * math.log(256 / 127.5), dtype=torch.float64)
    assert GreyLevels().bits_per_dimension(spread, images) == pytest.approx(torch.full((5,), 8.0).double(), abs=1e-9)


def test_the_digits_have_seventeen_levels() -> None:
    """The stated levels are those of the images; a uniform law over them costs log2(17) bits, a cell about 1 / 8."""
    data = Digits()
    images = torch.cat([data.split(name).take(torch.arange(len(data.split(name)))) for name in ("train", "validation")])
    assert images.unique().tolist() == list(Digits.grey_levels)
    levels = GreyLevels(Digits.grey_levels)
    values = torch.tensor(levels.values, dtype=torch.uint8).view(-1, 1)
    width = levels.log_volume(values).exp()
    assert width.min() > 0.115
    assert width.max() < 0.13
    density = torch.full((17,), -math.log(width.sum())).double()
    assert levels.bits_per_dimension(density, values).mean().item() == pytest.approx(math.log2(17), abs=0.002)
    assert len(GreyLevels(CIFAR10.grey_levels)) == 256


def test_wrong_levels_are_refused() -> None:
    with pytest.raises(UserError, match="none of the 17 grey levels"):
        GreyLevels(Digits.grey_levels).dequantised(torch.full((1, 1), 3, dtype=torch.uint8), torch.zeros(1, 1))
    for wrong in ([0], [3, 2], [0, 256], [4, 4]):
        with pytest.raises(UserError, match="ascending"):
            GreyLevels(wrong)


def test_grey_levels_under_a_default_of_float64() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        levels = GreyLevels(range(17))
    finally:
        torch.set_default_dtype(torch.float32)
    images = torch.arange(17, dtype=torch.uint8)
    assert torch.equal(
        levels.dequantised(images, torch.zeros(17)), GreyLevels(range(17)).dequantised(images, torch.zeros(17))
    )
