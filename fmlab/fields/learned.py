"""The field that a trained network defines."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import ConditionedField, PathField
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
"""`network(x, t, condition)` with x (B, *event), t (B,) float32, condition (B,), (B, D) or None."""


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
        condition: One per point, or None.

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
        condition: One per point, labels (B,) or vectors (B, D), or None for the unconditional field.
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
        return run_network(self.network, self.path, self.prediction, x, self._admissible(x, t), self.condition)

    def evaluate_both(self, other: PathField, x: Tensor, t: Tensor) -> tuple[PathPrediction, PathPrediction]:
        """Both predictions; of the same network in one batch, where that is faster."""
        conditions = self._conditions_with(other, x) if one_batch_is_faster(x) else None
        if conditions is None:
            return super().evaluate_both(other, x, t)
        self.nfe, other.nfe = self.nfe + 1, other.nfe + 1
        t = self._admissible(x, t)
        t = torch.cat([t, t]) if t.ndim else t
        both = run_network(self.network, self.path, self.prediction, torch.cat([x, x]), t, conditions)
        return both.rows(0, len(x)), both.rows(len(x), 2 * len(x))

    def _admissible(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.to(device=x.device, dtype=torch.promote_types(t.dtype, torch.float32))
        return self.path.clip(t, output_of(self.prediction))

    def _conditions_with(self, other: PathField, x: Tensor) -> Tensor | None:
        """The conditions of both fields in one batch; None where networks differ or no null condition is known."""
        if not isinstance(other, LearnedField):
            return None
        if (self.network, self.path, self.prediction) != (other.network, other.path, other.prediction):
            return None
        null = getattr(self.network, "null_condition", getattr(self.network, "num_classes", None))
        if null is None:
            return None
        null = torch.as_tensor(null, device=x.device)
        null = null.expand(len(x), *null.shape)
        return torch.cat([null if field.condition is None else field.condition for field in (self, other)])

    def unconditional(self) -> LearnedField:
        """The same network without its condition."""
        return LearnedField(self.network, self.path, self.prediction)


CPU_POINTS = 16
"""So many points at most go through a network twice in one batch on a processor.

There a forward costs its layers' fixed time and its points' time, and a larger batch leaves the caches: for the digits'
DiT on one core one batch takes 0.8 of the time of two at 8 points and 0.85 at 16, but 1.1 at 32 and 1.2 from 64 to 256
(`benchmarks/guided_step.py`).
"""


def one_batch_is_faster(x: Tensor) -> bool:
    """Whether one forward of twice the points beats two: where points are few, or launching the layers costs most."""
    return x.device.type != "cpu" or len(x) <= CPU_POINTS


def output_of(prediction: Output | EDMPreconditioning) -> Output:
    """Which quantity a network determines; a preconditioned one determines the velocity wherever it exists."""
    return "velocity" if isinstance(prediction, EDMPreconditioning) else prediction
