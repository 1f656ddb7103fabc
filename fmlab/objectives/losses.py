"""What is made of an error: one number a sample."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Loss(ABC):
    """A function of the error of a sample, 0 where there is none."""

    @abstractmethod
    def __call__(self, error: Tensor) -> Tensor:
        """A loss a sample, of shape (B,), from an error of shape (B, *event)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class SquaredError(Loss):
    """The mean square over an event's entries; its minimiser is the conditional mean, the marginal field."""

    def __call__(self, error: Tensor) -> Tensor:
        return error.square().flatten(1).mean(1)
