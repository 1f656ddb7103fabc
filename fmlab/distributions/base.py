"""What every distribution promises: samples, and where they exist a log-density and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError


class Distribution(ABC):
    """A law on tensors of a fixed event shape.

    Attributes:
        shape: The event shape; `sample(n)` has shape (n, *shape).
        num_classes: How many classes the points fall into, or None when they have no natural classes.
    """

    shape: tuple[int, ...]
    num_classes: int | None = None

    @abstractmethod
    def sample(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Draws n independent points.

        Args:
            n: How many points.
            generator: Where the randomness comes from; torch's own when None. The numbers are drawn on its device.
            device: Where the points are put; by default where they were drawn.

        Returns:
            Points of shape (n, *shape).
        """

    def sample_labelled(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws n points, the same as `sample` draws, and the class of each (int64, in [0, num_classes)).

        Raises:
            UserError: When the points have no classes.
        """
        raise UserError(f"{type(self).__name__} has no classes")

    def restricted(self, label: int) -> Distribution:
        """The law of the points of one class.

        Args:
            label: The class, in [0, num_classes).

        Raises:
            UserError: When the points have no classes, or there are none of this class.
        """
        raise UserError(f"{type(self).__name__} has no law of its own for each class", key="labels")

    def log_density(self, x: Tensor) -> Tensor:
        """The log-density at x.

        Args:
            x: Points of shape (B, *shape).

        Returns:
            Shape (B,).

        Raises:
            UserError: When it has no closed form.
        """
        raise UserError(f"{type(self).__name__} has samples only, no log-density in closed form")

    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density at x.

        Args:
            x: Points of shape (B, *shape).

        Returns:
            The shape of x.

        Raises:
            UserError: When it has no closed form.
        """
        raise UserError(f"{type(self).__name__} has samples only, no score in closed form")


class LabelledDistribution(Distribution):
    """A law whose points are drawn together with their classes, where they have any."""

    @abstractmethod
    def _draw(
        self, n: int, generator: torch.Generator | None, device: torch.device | str | None
    ) -> tuple[Tensor, Tensor | None]:
        """n points, and the class of each or None; see `Distribution.sample`."""

    def sample(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        return self._draw(n, generator, device)[0]

    def sample_labelled(
        self, n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.num_classes is None:
            return super().sample_labelled(n, generator, device)
        points, labels = self._draw(n, generator, device)
        assert labels is not None
        return points, labels


def drawing_device(generator: torch.Generator | None) -> torch.device:
    """Where numbers from this generator are drawn."""
    return torch.device("cpu") if generator is None else generator.device
