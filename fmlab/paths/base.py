"""What every probability path promises: its ends, its start, and what training draws from it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["velocity", "score", "noise", "data"]
Output = Literal["velocity", "score", "noise", "data", "velocity_and_score"]


def precision_at(t: Tensor, x: Tensor) -> torch.dtype:
    """What `t` and `x` are computed in together: float32 or better."""
    return torch.promote_types(torch.promote_types(t.dtype, torch.float32), x.dtype)


def as_precise(t: Tensor) -> Tensor:
    """`t` in float32 or better: in bfloat16 every time after 0.998 is 1."""
    return t.to(torch.promote_types(t.dtype, torch.float32))


def expand_time(t: Tensor, x: Tensor) -> Tensor:
    """`t` of shape (), (B,) or (B, 1, ...) in float32 or better, on the device of `x` and broadcasting against it."""
    t = t.to(device=x.device, dtype=precision_at(t, x))
    return t if t.ndim == 0 else t.reshape(-1, *([1] * (x.ndim - 1)))


@dataclass(frozen=True)
class PathSample:
    """A point on a conditional path, with the conditional quantities that training regresses on.

    Attributes:
        x: The point, of shape (B, *event).
        t: When, of shape (B,).
        velocity: The time derivative of the point with everything that was drawn held fixed.
        noise: The standard normal noise in the point, or None where the path adds none.
        noise_scale: Its factor, broadcasting against `x`: the conditional score is -noise / noise_scale.
    """

    x: Tensor
    t: Tensor
    velocity: Tensor
    noise: Tensor | None
    noise_scale: Tensor


class ProbabilityPath(ABC):
    """A path of laws from a source at t = 0 to the data at t = 1.

    Attributes:
        t_start: Where every solve and all training begins.
        t_end: Where they end.
        needs_noise: Whether `draw` needs noise beside the source.
    """

    t_start: float = 0.0
    t_end: float = 1.0
    needs_noise: bool = False

    @abstractmethod
    def initial(self, source: Tensor) -> Tensor:
        """What a solve starts from, given a draw of the source, of any shape."""

    @abstractmethod
    def draw(self, data: Tensor, source: Tensor, t: Tensor, noise: Tensor | None = None) -> PathSample:
        """The point between `source` and `data` (B, *event) at `t` (B,); `noise` where the path needs it."""

    @abstractmethod
    def noise_scale(self, t: Tensor) -> Tensor:
        """The standard deviation of the Gaussian noise in x_t given the pair: beta_t on a Gaussian path."""

    @abstractmethod
    def clip(self, t: Tensor, output: Output) -> Tensor:
        """`t` moved to where a network with that output determines what is asked of it."""

    def clip_exact(self, t: Tensor) -> Tensor:
        """`t` moved to where a field in closed form is finite; it is asked where a network could not answer."""
        return self.clip(t, "velocity")

    def __repr__(self) -> str:
        # The constructor's arguments and no other attribute: what a configuration would have to say.
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"
