"""From which law training draws t."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError


class TimeSampler(ABC):
    """A law on [0, 1]."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` times in float32 on the generator's device."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Uniform(TimeSampler):
    """t uniform on [0, 1)."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, generator=generator, device=generator.device)


class LogitNormal(TimeSampler):
    """logit(t) normal, which favours the middle of time (Esser et al. 2024, equation 19).

    Args:
        mean: The mean of logit(t); positive favours the data end.
        std: Its standard deviation, positive.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        if std <= 0:
            raise UserError(f"LogitNormal needs std > 0, got {std}", key="std")
        self.mean, self.std = mean, std

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.sigmoid(self.mean + self.std * torch.randn(n, generator=generator, device=generator.device))
