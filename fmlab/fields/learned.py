"""The field that a trained network defines."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.fields.base import PathField
from fmlab.paths import GaussianPath, Kind, Prediction

NetworkFunction = Callable[..., Tensor]
"""`network(x, t, condition)` with x (B, *event), t (B,) float32, condition (B,) or None."""


class LearnedField(PathField):
    """A network's output as a field, for one fixed condition.

    Args:
        network: Any callable `network(x, t, condition)`, or `network(x, t)` where there is no condition.
        path: The path it was trained on.
        prediction: Which quantity it outputs.
        condition: One label an image, of shape (B,), or None for the unconditional field.
    """

    def __init__(
        self,
        network: NetworkFunction,
        path: GaussianPath,
        prediction: Kind = "velocity",
        condition: Tensor | None = None,
    ) -> None:
        super().__init__(path)
        self.network, self.prediction, self.condition = network, prediction, condition

    def evaluate(self, x: Tensor, t: Tensor) -> Prediction:
        t = self.path.clip(t.to(device=x.device, dtype=torch.promote_types(t.dtype, torch.float32)), self.prediction)
        per_sample = t.reshape(-1).expand(x.shape[0]).float()
        given = () if self.condition is None else (self.condition,)
        output = self.network(x, per_sample, *given)
        return Prediction(self.path, x, t, self.prediction, output.to(x.dtype))

    def unconditional(self) -> LearnedField:
        """The same network without its condition."""
        return LearnedField(self.network, self.path, self.prediction)
