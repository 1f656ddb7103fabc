"""What stands at t = 0: Gaussian noise, a distribution, a data set, or what the batch brings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from fmlab.distributions import Distribution
from fmlab.errors import UserError
from fmlab.fields import gaussian_start
from fmlab.random import Purpose, keyed_generator

SourceChoice = Distribution | LightningDataModule | Literal["batch"] | None


class InitialDistribution(ABC):
    """The law at t = 0. Draws x_0, in training for a batch of data and in sampling for one seed per sample."""

    @abstractmethod
    def draw(self, data: Tensor, given: Tensor | None, generator: torch.Generator) -> Tensor:
        """One x_0 for each of `data` (B, *event), on its device; `given` is what the batch brought."""

    @abstractmethod
    def start(self, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str) -> Tensor:
        """One x_0 per seed, of shape (len(seeds), *shape): the same whatever else is in the batch."""


class NoiseSource(InitialDistribution):
    """Standard normal noise."""

    def draw(self, data: Tensor, given: Tensor | None, generator: torch.Generator) -> Tensor:
        return torch.randn(data.shape, generator=generator, device=data.device)

    def start(self, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str) -> Tensor:
        return gaussian_start(seeds, shape, device)


class DistributionSource(InitialDistribution):
    """Draws of a distribution on events of the data's shape."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    def draw(self, data: Tensor, given: Tensor | None, generator: torch.Generator) -> Tensor:
        x = self.distribution.sample(len(data), generator, data.device).to(torch.float32)
        return _checked(x, data.shape[1:])

    def start(self, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str) -> Tensor:
        draws = [self.distribution.sample(1, keyed_generator(Purpose.NOISE, seed, 0)) for seed in seeds]
        return _checked(torch.cat(draws).to(device=device, dtype=torch.float32), shape)


class DataSource(InitialDistribution):
    """Examples of a data set: of its training split in training, of its validation split in sampling.

    Its labels are not used.
    """

    def __init__(self, data: LightningDataModule) -> None:
        self.data: Any = data

    def draw(self, data: Tensor, given: Tensor | None, generator: torch.Generator) -> Tensor:
        size = len(self.data.split("train"))
        rows = torch.randint(size, (len(data),), generator=generator, device=generator.device)
        return self._take("train", rows.cpu(), data.shape[1:], data.device)

    def start(self, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str) -> Tensor:
        size = len(self.data.split("validation"))
        rows = [torch.randint(size, (), generator=keyed_generator(Purpose.NOISE, seed, 0)) for seed in seeds]
        return self._take("validation", torch.stack(rows), shape, device)

    def _take(self, split: str, rows: Tensor, shape: Sequence[int], device: torch.device | str) -> Tensor:
        x = self.data.split(split).take(rows).to(device)
        return _checked(self.data.on_after_batch_transfer(x, 0), shape)  # as floating-point numbers


class BatchSource(InitialDistribution):
    """What the batch brings with each data point; in sampling, what the data module gives for a seed.

    Attributes:
        data: The data module, once it is known.
    """

    def __init__(self) -> None:
        self.data: Any = None

    def draw(self, data: Tensor, given: Tensor | None, generator: torch.Generator) -> Tensor:
        if given is None:
            hint = "batches of the data have to be mappings with data and source, as SuperResolution's are"
            raise UserError("the batch brings no source", key="model.source", hint=hint)
        return given

    def start(self, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str) -> Tensor:
        if not hasattr(self.data, "sources"):
            raise UserError(f"{type(self.data).__name__} has no sources to start from", key="data")
        x: Tensor = self.data.sources(seeds).to(device)
        return x


def make_source(choice: SourceChoice) -> InitialDistribution:
    """The source that a configuration names; None is standard normal noise."""
    if choice is None:
        return NoiseSource()
    if isinstance(choice, Distribution):
        return DistributionSource(choice)
    return BatchSource() if isinstance(choice, str) else DataSource(choice)


def _checked(x: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(x.shape[1:]) != tuple(shape):
        cause = f"the source has shape {tuple(x.shape[1:])}, the data {tuple(shape)}"
        raise UserError(cause, key="model.source", hint="they must agree")
    return x
