"""A field on a Gaussian path: one evaluation gives a Prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from fmlab.paths import GaussianPath, Prediction


class PathField(ABC):
    """Bound to its condition, carries its path, counts its forwards.

    Attributes:
        path: The path it lives on.
        nfe: Network forwards per image since the field was made or `nfe` was last set to 0.
    """

    def __init__(self, path: GaussianPath) -> None:
        self.path = path
        self.nfe = 0

    @abstractmethod
    def evaluate(self, x: Tensor, t: Tensor) -> Prediction:
        """The prediction at `x` of shape (B, *event) and `t` of shape () or (B,)."""

    def __call__(self, x: Tensor, t: Tensor) -> Prediction:
        """One evaluation, counted."""
        self.nfe += 1
        return self.evaluate(x, t)
