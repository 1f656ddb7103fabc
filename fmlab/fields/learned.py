"""The field that a trained network defines."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import ConditionedField
from fmlab.paths import (
    EDMPreconditioning,
    FlowAndScore,
    GaussianPath,
    Output,
    PathPrediction,
    Prediction,
    ProbabilityPath,
    gaussian_path,
)

NetworkFunction = Callable[..., Tensor]
"""`network(x, t, condition)` with x (B, *event), t (B,) float32, condition (B,) or None."""


def run_network(
    network: NetworkFunction,
    path: ProbabilityPath,
    prediction: Output | EDMPreconditioning,
    x: Tensor,
    t: Tensor,
    condition: Tensor | None = None,
) -> PathPrediction:
    """One forward, and what its output says; training and sampling both go through here.

    Args:
        network: Any callable `network(x, t, condition)`, or `network(x, t)` where there is no condition.
        path: The path `x` lies on.
        prediction: What the network outputs.
        x: Points of shape (B, *event).
        t: Times of shape () or (B,), already within what `path.clip` admits.
        condition: One a point, or None.

    Raises:
        UserError: If the output has not the shape that the prediction asks for.
    """
    per_sample = t.reshape(-1).expand(x.shape[0]).float()
    given = () if condition is None else (condition,)
    if isinstance(prediction, EDMPreconditioning):
        gaussian = gaussian_path(path, "EDMPreconditioning")
        output = network(prediction.input(x, t, gaussian), per_sample, *given)
        return prediction.prediction(_as_precise(output, x), x, t, gaussian)
    output = _as_precise(network(x, per_sample, *given), x)
    expected = (x.shape[0], 2, *x.shape[1:]) if prediction == "velocity_and_score" else x.shape
    if output.shape != expected:
        raise UserError(
            f"a network that predicts {prediction} gives shape {tuple(expected)} here, this one {tuple(output.shape)}",
            key="model.network",
            hint="network.outputs is 2 for prediction: velocity_and_score, and 1 for any other",
        )
    if prediction == "velocity_and_score":
        return FlowAndScore(path, x, t, output[:, 0], output[:, 1])
    if isinstance(path, GaussianPath):
        return Prediction(path, x, t, prediction, output)
    return FlowAndScore(path, x, t, output)


def _as_precise(output: Tensor, x: Tensor) -> Tensor:
    """The output in float32 or better, whatever autocast made of it."""
    return output.to(torch.promote_types(torch.float32, x.dtype))


class LearnedField(ConditionedField):
    """A network's output as a field, for one fixed condition.

    Args:
        network: Any callable `network(x, t, condition)`, or `network(x, t)` where there is no condition.
        path: The path it was trained on.
        prediction: What it outputs: one of the four quantities, `velocity_and_score` stacked in dimension 1, or
            EDM's preconditioned output.
        condition: One label an image, of shape (B,), or None for the unconditional field.
    """

    def __init__(
        self,
        network: NetworkFunction,
        path: ProbabilityPath,
        prediction: Output | EDMPreconditioning = "velocity",
        condition: Tensor | None = None,
    ) -> None:
        super().__init__(path)
        self.network, self.prediction, self.condition = network, prediction, condition

    def evaluate(self, x: Tensor, t: Tensor) -> PathPrediction:
        t = t.to(device=x.device, dtype=torch.promote_types(t.dtype, torch.float32))
        t = self.path.clip(t, output_of(self.prediction))
        return run_network(self.network, self.path, self.prediction, x, t, self.condition)

    def unconditional(self) -> LearnedField:
        """The same network without its condition."""
        return LearnedField(self.network, self.path, self.prediction)


def output_of(prediction: Output | EDMPreconditioning) -> Output:
    """Which quantity a network determines; a preconditioned one determines the velocity wherever it exists."""
    return "velocity" if isinstance(prediction, EDMPreconditioning) else prediction
