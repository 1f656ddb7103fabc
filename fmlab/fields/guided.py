"""Classifier-free guidance round any pair of fields."""

from __future__ import annotations

from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import ConditionedField, PathField
from fmlab.paths import PathPrediction


class ClassifierFreeGuidance(PathField):
    """(1 - w) u(x | null) + w u(x | y): w = 0 unconditional, w = 1 conditional, w > 1 guided (Ho and Salimans, 2022).

    Mixing commutes with every conversion of a prediction, so the guided field has velocity, score, noise and data as
    any other. A field whose weight is 0 is not evaluated.

    Args:
        conditional: u(. | y).
        unconditional: u(. | null), on the same path.
        scale: The guidance scale w.
    """

    def __init__(self, conditional: PathField, unconditional: PathField, scale: float) -> None:
        self.conditional, self.unconditional, self.scale = conditional, unconditional, scale
        super().__init__(conditional.path)

    @property
    def nfe(self) -> int:
        """Forwards of both fields."""
        return self.conditional.nfe + self.unconditional.nfe

    @nfe.setter
    def nfe(self, value: int) -> None:
        self.conditional.nfe, self.unconditional.nfe = value, value

    def __call__(self, x: Tensor, t: Tensor) -> PathPrediction:
        return self.evaluate(x, t)

    def evaluate(self, x: Tensor, t: Tensor) -> PathPrediction:
        if self.scale == 0:
            return self.unconditional(x, t)
        if self.scale == 1:
            return self.conditional(x, t)
        return self.unconditional(x, t).mix(self.conditional(x, t), self.scale)


def guided(field: ConditionedField, scale: float) -> PathField:
    """A learned or exact field guided by its own unconditional twin; the field itself at scale 1.

    Raises:
        UserError: If guidance is asked of a field without a condition.
    """
    if scale == 1:
        return field
    if field.condition is None:
        raise UserError(
            f"guidance scale {scale} asked of a model without labels", key="guidance_scale", hint="use guidance scale 1"
        )
    return ClassifierFreeGuidance(field, field.unconditional(), scale)
