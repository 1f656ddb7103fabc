"""From which law training draws t."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import CondOT, ProbabilityPath


@dataclass(frozen=True)
class Moment:
    """Where in training times are drawn.

    Attributes:
        path: The path they lie on.
        progress: The share of training that is done, in [0, 1].
        shard: Which part of an optimizer step's global batch this is.
        shards: How many parts that batch has: accumulated batches x processes.
    """

    path: ProbabilityPath = field(default_factory=CondOT)
    progress: float = 1.0
    shard: int = 0
    shards: int = 1


class TimeSampler(ABC):
    """A law on [0, 1], given by its quantile function."""

    @abstractmethod
    def quantile(self, u: Tensor, moment: Moment) -> Tensor:
        """The times below which the shares `u`, in (0, 1), of the law lie; shaped like `u`."""

    def sample(self, n: int, generator: torch.Generator, moment: Moment | None = None) -> Tensor:
        """`n` times in float32 on the generator's device."""
        return self.quantile(uniform(n, generator), moment or Moment())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def uniform(n: int, generator: torch.Generator) -> Tensor:
    """`n` numbers strictly between 0 and 1, so that every quantile is finite."""
    u = torch.rand(n, generator=generator, device=generator.device)
    return u.clamp(2.0**-25, 1 - 2.0**-24)


class Uniform(TimeSampler):
    """t uniform on (0, 1)."""

    def quantile(self, u: Tensor, moment: Moment) -> Tensor:
        return u


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

    def quantile(self, u: Tensor, moment: Moment) -> Tensor:
        return torch.sigmoid(self.mean + self.std * torch.special.ndtri(u))
