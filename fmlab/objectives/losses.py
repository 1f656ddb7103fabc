"""Losses: from the error of a sample to one number."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.representation import ShownByAttributes


class Loss(ShownByAttributes, ABC):
    """A function of the error of a sample, 0 where there is none."""

    @abstractmethod
    def __call__(self, error: Tensor) -> Tensor:
        """One loss per sample, of shape (B,), from an error of shape (B, *event)."""


class SquaredError(Loss):
    """The mean square over an event's entries; its minimiser is the conditional mean, the marginal field."""

    def __call__(self, error: Tensor) -> Tensor:
        return mean_square(error)


class PseudoHuber(Loss):
    """sqrt(m + c^2) - c for the mean square m over an event's entries, robust to outliers (Song, Dhariwal 2024).

    For |e|^2 = d m over d entries it is their sqrt(|e|^2 + c^2 d) - c sqrt(d) divided by sqrt(d), so that, like
    `SquaredError`, it does not grow with the size of the event. Small errors give SquaredError / (2 c), large ones its
    root, and the gradient's norm stays below 1 / sqrt(d). A weight multiplies the loss, not the square.

    Args:
        c: The root mean square below which an error counts by its square, positive; 0.00054 is theirs.
    """

    def __init__(self, c: float = 0.00054) -> None:
        if not c > 0:
            raise UserError(f"PseudoHuber needs c > 0, got {c}", key="c")
        self.c = c

    def __call__(self, error: Tensor) -> Tensor:
        square = mean_square(error)
        return square / (torch.sqrt(square + self.c**2) + self.c)  # without the difference, which cancels


def mean_square(error: Tensor) -> Tensor:
    """The mean square over an event's entries, of shape (B,)."""
    # As a product: of `square()` the backward pass costs twice as much, through the derivative of a power.
    return (error * error).flatten(1).mean(1)
