"""Pictures of processes show what they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fmlab.figures import pixels, process_figure
from fmlab.figures.canvas import WARM


def paths_in_time(*args: Any, **options: Any) -> np.ndarray:
    return pixels(process_figure.paths_in_time(*args, **options))


def paths_in_plane(*args: Any, **options: Any) -> np.ndarray:
    return pixels(process_figure.paths_in_plane(*args, **options))


TIMES = torch.linspace(0, 2, 21, dtype=torch.float64)


def near(picture: np.ndarray, colour: str, tolerance: int = 40) -> int:
    """How many pixels have about that colour."""
    rgb = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - rgb).max(-1) <= tolerance).sum())


def warm(picture: np.ndarray) -> int:
    """Pixels in a tint of the shade: red over blue."""
    return int((picture[..., 0].astype(int) - picture[..., 2] > 25).sum())


def test_paths_over_time_with_their_band() -> None:
    paths, mean = torch.zeros(21, 3, dtype=torch.float64), torch.zeros(21, 1, dtype=torch.float64)
    ends = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bare = paths_in_time(TIMES, paths, ends, "bare")
    assert bare.dtype == np.uint8
    assert bare.ndim == 3
    assert bare.shape[2] == 3
    assert warm(bare) == 0
    narrow, broad = (
        paths_in_time(TIMES, paths, ends, "band", mean=mean, std=torch.full_like(TIMES, std), density=normal)
        for std in (0.3, 0.6)
    )
    assert warm(broad) > 1.7 * warm(narrow) > 1000, "a band of twice the width"
    exact = paths_in_time(TIMES, paths, ends, "an ODE", mean=mean)
    assert 0 < warm(exact) < warm(narrow), "a line and no band"


def normal(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(-x.square().sum(-1) / 2)


def test_paths_in_the_plane_over_a_density() -> None:
    angle = TIMES[:, None] + torch.arange(4)
    paths = torch.stack([angle.cos(), angle.sin()], -1)
    bare, shaded = paths_in_plane(paths, "a turn"), paths_in_plane(paths, "a turn", density=normal)
    assert bare.shape == shaded.shape
    assert bare.shape[2] == 3
    assert warm(bare) == 0
    assert near(shaded, WARM) > 1000, "dense in the middle"
    with_exact = paths_in_plane(paths, "a turn", mean=paths)
    assert 0 < warm(with_exact) < warm(shaded)
