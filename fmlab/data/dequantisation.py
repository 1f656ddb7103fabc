"""From grey levels to a continuous law and back: uniform dequantisation, and what it adds to bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fmlab.data.pixels import to_float
from fmlab.errors import UserError


class GreyLevels:
    """The uint8 values that a pixel can take, each with the cell of floats that rounds to it.

    A cell reaches half way to the neighbouring levels, at the ends as far out as in. With all 256 levels the cells are
    those of the rounding rule, `to_uint8`, each 1 / 127.5 wide.

    A model with a density p has the probability of an image in the integral of p over the product of its pixels' cells,
    and by Jensen's inequality -log of it is at most the mean of -log p(x) - log(volume) over x uniform in the product:
    so bits per dimension from dequantised images bound those of the images themselves from above (Theis et al. 2016).

    Args:
        levels: The values, at least two, in ascending order and in [0, 255].

    Raises:
        UserError: If they are not.
    """

    def __init__(self, levels: Sequence[int] = range(256)) -> None:
        values = list(levels)
        if len(values) < 2 or values != sorted(set(values)) or not 0 <= values[0] < values[-1] <= 255:
            raise UserError(f"grey levels are two or more ascending values in 0 to 255, got {values}", key="levels")
        centres = torch.tensor(values, dtype=torch.float64)
        between = (centres[1:] + centres[:-1]) / 2
        first, last = 2 * centres[:1] - between[:1], 2 * centres[-1:] - between[-1:]
        edges = torch.cat([first, between, last])
        self.values = values
        # By uint8 value; a value that is no level has no width.
        self._below, self._width = torch.zeros(2, 256, dtype=torch.float32)
        self._below[values] = (centres - edges[:-1]).float()
        self._width[values] = edges.diff().float()

    def __len__(self) -> int:
        return len(self.values)

    def dequantised(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Floats in the images' cells, about in [-1, 1].

        Args:
            images: uint8, of any shape.
            uniform: Uniform numbers in [0, 1) of that shape; 0 and 1 are a cell's lower and upper edge.

        Raises:
            UserError: If a pixel has a value that is no level.
        """
        rows = images.long()
        width = self._width.to(images.device)[rows]
        if not bool((width > 0).all()):
            wrong = int(images[width == 0][0])
            raise UserError(f"a pixel of {wrong} is none of the {len(self)} grey levels", key="data")
        return to_float(images) + (uniform * width - self._below.to(images.device)[rows]) / 127.5

    def log_volume(self, images: Tensor) -> Tensor:
        """The natural logarithm of the volume of each image's cell, of shape (B,), for uint8 images (B, *shape)."""
        width = self._width.double().to(images.device if images.device.type != "mps" else "cpu")
        return (width / 127.5).log()[images.long().to(width.device)].flatten(1).sum(1)

    def bits_per_dimension(self, log_density: Tensor, images: Tensor) -> Tensor:
        """-log2 of the density times the cell's volume, over the entries of an image.

        Args:
            log_density: Natural log-densities (B,) at dequantised images.
            images: The uint8 images (B, *shape).
        """
        log_volume = self.log_volume(images).to(log_density)
        return -(log_density + log_volume) / (images[0].numel() * math.log(2))

    def __repr__(self) -> str:
        return f"GreyLevels({len(self)} levels)"
