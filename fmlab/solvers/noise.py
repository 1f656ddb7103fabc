"""The random numbers of a solve: the noise of its start and its steps, and the probes of a divergence.

One seed per sample: what is drawn does not depend on the batch size or the number of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.random import Purpose, keyed_generator

NoiseFn = Callable[[int, Tensor], Tensor]
"""`noise(index, like)`: standard normal numbers shaped like `like` for the step of that index."""

ProbeLaw = Literal["rademacher", "gaussian"]


def default_noise(index: int, like: Tensor) -> Tensor:
    """Noise from torch's own generator, for solves that need not repeat."""
    return torch.randn_like(like)


class SeededNoise:
    """Standard normal noise keyed by (seed of the sample, step), drawn on the CPU so that devices agree.

    Args:
        seeds: One integer per sample of the batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = [int(seed) for seed in seeds]

    def initial(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """The noise a solve starts from, of shape (len(seeds), *shape)."""
        return self._draw(-1, shape).to(device)

    def __call__(self, index: int, like: Tensor) -> Tensor:
        """The increment's noise of one solver step, shaped like the state."""
        return self._draw(index, like.shape[1:]).to(device=like.device, dtype=like.dtype)

    def _draw(self, index: int, shape: Sequence[int]) -> Tensor:
        return torch.stack(
            [torch.randn(*shape, generator=keyed_generator(Purpose.NOISE, seed, index + 1)) for seed in self.seeds]
        )


def seeded_probe(seeds: Sequence[int], shape: Sequence[int], *keys: int, law: ProbeLaw = "rademacher") -> Tensor:
    """One probe per seed for `HutchinsonDivergence`, of shape (len(seeds), *shape), drawn on the CPU.

    Args:
        seeds: One integer per point.
        shape: The event shape.
        keys: Which of the seed's probes.
        law: Entries of +-1, or standard normal ones.

    Raises:
        UserError: If there is no such law.
    """
    if law not in ("rademacher", "gaussian"):
        raise UserError(f"there is no probe {law!r}", key="law", hint="rademacher or gaussian")
    draws = []
    for seed in seeds:
        generator = keyed_generator(Purpose.PROBE, seed, *keys)
        if law == "gaussian":
            draws.append(torch.randn(*shape, generator=generator))
        else:
            draws.append(2.0 * torch.randint(2, tuple(shape), generator=generator) - 1.0)
    return torch.stack(draws)
