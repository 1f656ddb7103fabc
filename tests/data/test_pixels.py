"""The rounding rule between uint8 and float."""

from __future__ import annotations

import pytest
import torch

from fmlab.data import to_float, to_uint8

LEVELS = torch.arange(256, dtype=torch.uint8)


def test_all_levels_make_the_round_trip() -> None:
    x = to_float(LEVELS)
    assert x.dtype == torch.float32
    assert (x[0], x[-1]) == (-1.0, 1.0)
    assert to_uint8(x).equal(LEVELS)
    assert to_uint8(x).dtype == torch.uint8


@pytest.mark.parametrize("nudge", [-0.49, 0.49])
def test_the_round_trip_survives_almost_half_a_level(nudge: float) -> None:
    assert to_uint8(to_float(LEVELS) + nudge / 127.5).equal(LEVELS)


def test_values_outside_are_clipped_and_never_wrap() -> None:
    x = torch.tensor([-30.0, -1.01, 1.01, 30.0])
    assert to_uint8(x).tolist() == [0, 0, 255, 255]


def test_the_rule_is_the_floor_of_127_5_x_plus_128() -> None:
    # A value on a step belongs to the level above it: 127.5 x + 128 = 100 is level 100, a hair less is level 99.
    x = torch.tensor((100 - 128) / 127.5, dtype=torch.float64)
    assert to_uint8((x + 1e-5).float()) == 100
    assert to_uint8((x - 1e-5).float()) == 99
