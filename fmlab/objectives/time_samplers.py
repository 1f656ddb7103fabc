"""From which law training draws t."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import CondOT, ProbabilityPath, gaussian_path
from fmlab.representation import ShownByAttributes


@dataclass(frozen=True)
class StepContext:
    """What a time sampler knows of the optimizer step for which it draws.

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


class TimeSampler(ShownByAttributes, ABC):
    """A law on [0, 1], given by its quantile function."""

    @abstractmethod
    def quantile(self, u: Tensor, context: StepContext) -> Tensor:
        """The times below which the shares `u`, in (0, 1), of the law lie; shaped like `u`."""

    def sample(self, n: int, generator: torch.Generator, context: StepContext | None = None) -> Tensor:
        """`n` times in float32 on the generator's device."""
        return self.quantile(uniform(n, generator), context or StepContext())


def uniform(n: int, generator: torch.Generator) -> Tensor:
    """`n` numbers strictly between 0 and 1, so that every quantile is finite."""
    return inside(torch.rand(n, generator=generator, device=generator.device))


def inside(u: Tensor) -> Tensor:
    """`u` moved off 0 and 1 by less than float32 tells apart."""
    return u.clamp(2.0**-25, 1 - 2.0**-24)


class Uniform(TimeSampler):
    """t uniform on (0, 1)."""

    def quantile(self, u: Tensor, context: StepContext) -> Tensor:
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

    def quantile(self, u: Tensor, context: StepContext) -> Tensor:
        return torch.sigmoid(self.mean + self.std * torch.special.ndtri(u))


class MovingLogitNormal(TimeSampler):
    """logit(t) normal with a mean that moves linearly over training, by default from the data end to the noise end.

    So training begins with what is easy to see, t near 1, and ends where samples are decided. Validation draws from
    the last law throughout, so that its losses can be compared.

    Args:
        start: The mean of logit(t) at the first step; positive favours the data end.
        end: The mean at the last step.
        std: The standard deviation of logit(t), positive.
    """

    def __init__(self, start: float = 1.0, end: float = -1.0, std: float = 1.0) -> None:
        if std <= 0:
            raise UserError(f"MovingLogitNormal needs std > 0, got {std}", key="std")
        self.start, self.end, self.std = start, end, std

    def quantile(self, u: Tensor, context: StepContext) -> Tensor:
        mean = self.start + context.progress * (self.end - self.start)
        return LogitNormal(mean, self.std).quantile(u, context)


class LogNormalSigma(TimeSampler):
    """The logarithm of sigma = beta / alpha normal (Karras et al. 2022, table 1), on any Gaussian path.

    The same noise levels are drawn on every path, so that EDM's law and weight mean the same on each; levels beyond
    the path's ends are moved to its ends.

    Args:
        mean: The mean of ln sigma.
        std: Its standard deviation, positive.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        if std <= 0:
            raise UserError(f"LogNormalSigma needs std > 0, got {std}", key="std")
        self.mean, self.std = mean, std

    def quantile(self, u: Tensor, context: StepContext) -> Tensor:
        path = gaussian_path(context.path, "LogNormalSigma")
        log_sigma = self.mean - self.std * torch.special.ndtri(u)  # t grows as sigma falls
        return path.log_snr_inverse(-2 * log_sigma).clamp(path.t_start, path.t_end)


class UShaped(TimeSampler):
    """Density proportional to e^(a t) + e^(a (1 - t)): both ends of time more than the middle (Lee et al. 2024).

    Made for straightening a flow, where the ends are the hardest (Improving the Training of Rectified Flows).

    Args:
        steepness: The rate a, positive and at most 80; the density at the ends is cosh(a / 2) times that in the middle.
    """

    def __init__(self, steepness: float = 4.0) -> None:
        if not 0 < steepness <= 80:  # from 88 on, sinh(a / 2)^2 leaves float32
            raise UserError(f"UShaped needs 0 < steepness <= 80, got {steepness}", key="steepness")
        self.steepness = steepness

    def quantile(self, u: Tensor, context: StepContext) -> Tensor:
        # The distribution function is 1/2 + sinh(a (t - 1/2)) / (2 sinh(a/2)).
        a = self.steepness
        return (0.5 + torch.asinh((2 * u - 1) * math.sinh(a / 2)) / a).clamp(0, 1)


class Stratified(TimeSampler):
    """One time in each of as many equal strata of a law as the optimizer step has samples, which lowers the variance.

    The strata are shared out over accumulated batches and processes, whose times together follow the law: shard k of K
    takes the strata k, k + K, k + 2K, ... in random order.

    Args:
        base: The law.
    """

    def __init__(self, base: TimeSampler) -> None:
        self.base = base

    def quantile(self, u: Tensor, context: StepContext) -> Tensor:
        return self.base.quantile(u, context)

    def sample(self, n: int, generator: torch.Generator, context: StepContext | None = None) -> Tensor:
        context, device = context or StepContext(), generator.device
        strata = context.shard + context.shards * torch.randperm(n, generator=generator, device=device)
        within = torch.rand(n, generator=generator, device=device)
        return self.quantile(inside((strata + within) / (n * context.shards)), context)
