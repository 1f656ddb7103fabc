"""Which noise goes with which data point."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Coupling(ABC):
    """Pairs the data of a batch with noise; every data point exactly once."""

    @abstractmethod
    def pair(self, data: Tensor, noise: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """The noise in the order in which it goes with `data`; all of shape (B, *event)."""


class Independent(Coupling):
    """Noise and data are independent: the pairs as they were drawn."""

    def pair(self, data: Tensor, noise: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        return noise
