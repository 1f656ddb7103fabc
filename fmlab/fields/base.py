"""A field on a probability path: one evaluation gives a prediction of velocity, score, noise and data."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from fmlab.paths import PathPrediction, ProbabilityPath


class PathField(ABC):
    """A field that is bound to its condition, carries its path and counts its forwards.

    Attributes:
        path: The path it lives on.
        nfe: Network forwards per sample since the field was made or `nfe` was last set to 0.
    """

    def __init__(self, path: ProbabilityPath) -> None:
        self.path = path
        self.nfe = 0

    @abstractmethod
    def evaluate(self, x: Tensor, t: Tensor) -> PathPrediction:
        """The prediction at `x` of shape (B, *event) and `t` of shape () or (B,)."""

    def __call__(self, x: Tensor, t: Tensor) -> PathPrediction:
        """One evaluation, counted."""
        self.nfe += 1
        return self.evaluate(x, t)

    def evaluate_both(self, other: PathField, x: Tensor, t: Tensor) -> tuple[PathPrediction, PathPrediction]:
        """This field's prediction and another's at the same points, each counted by its own field.

        A field that can compute both for less than two evaluations does so.
        """
        return self(x, t), other(x, t)


class ConditionedField(PathField):
    """A field bound to a condition, with an unconditional twin: all that guidance needs to know of it.

    Attributes:
        condition: One condition per point, or None where the field is unconditional.
    """

    condition: Tensor | None

    @abstractmethod
    def unconditional(self) -> PathField:
        """The field without a condition, on the same path."""
