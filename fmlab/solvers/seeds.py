"""One seed an image: noise that does not depend on the batch size or the number of devices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fmlab.random import Purpose, keyed_generator


class SeededNoise:
    """Standard normal noise keyed by (seed of the image, step), drawn on the CPU so that devices agree.

    Args:
        seeds: One integer an image of the batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = [int(seed) for seed in seeds]

    def initial(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """The noise a solve starts from, of shape (len(seeds), *shape)."""
        return self._draw(-1, shape).to(device)

    def __call__(self, step: int, like: Tensor) -> Tensor:
        """The increment's noise of one solver step, shaped like the state."""
        return self._draw(step, like.shape[1:]).to(device=like.device, dtype=like.dtype)

    def _draw(self, step: int, shape: Sequence[int]) -> Tensor:
        draws = [
            torch.randn(*shape, generator=keyed_generator(seed, int(Purpose.NOISE), step + 1)) for seed in self.seeds
        ]
        return torch.stack(draws)
