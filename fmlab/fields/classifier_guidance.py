"""A condition by Bayes' rule: an unconditional field and a classifier of noisy points."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import ConditionedField, PathField
from fmlab.fields.learned import NetworkFunction
from fmlab.paths import GaussianPath, PathPrediction, expand_time, gaussian_path


class Classifier(Protocol):
    """`classifier(x, t)`: log p_t(y | x) of every class, of shape (B, classes), at `t` of shape () or (B,).

    It is differentiable in x.
    """

    def __call__(self, x: Tensor, t: Tensor) -> Tensor: ...


class LearnedClassifier:
    """A network's logits as log p_t(y | x).

    The network is shown x alpha / (alpha^2 + beta^2), the best linear estimate of data of unit variance. So its
    gradient by x is in proportion to alpha, as that of the true posterior, and dividing it by alpha is harmless.

    Args:
        network: `network(x, t)` with x (B, *event) and t (B,) float32 gives logits (B, classes).
        path: The Gaussian path on which it was trained.
    """

    def __init__(self, network: NetworkFunction, path: GaussianPath) -> None:
        self.network, self.path = network, path

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.to(device=x.device, dtype=torch.promote_types(t.dtype, torch.float32))
        time = expand_time(self.path.clip(t, "velocity"), x)
        alpha, beta = self.path.alpha(time), self.path.beta(time)
        logits = self.network(alpha / (alpha**2 + beta**2) * x, time.reshape(-1).expand(len(x)).float())
        return logits.to(torch.promote_types(torch.float32, x.dtype)).log_softmax(1)


class ClassifierConditioned(ConditionedField):
    """The score grad log p_t(x) + grad log p_t(y | x), from a field without the condition and a classifier.

    The other quantities follow: the velocity gains (beta D / alpha) grad log p_t(y | x) (Dhariwal and Nichol, 2021).
    Guided by the field it is made of, it is classifier guidance at the scale w. One evaluation counts two forwards, the
    field's and the classifier's; the latter has a backward too.

    Args:
        field: The field without the condition, of one forward per evaluation.
        classifier: log p_t(y | x) on the same path.
        condition: One label per point, of shape (B,).

    Raises:
        UserError: If the path is not Gaussian, or a coupling leaves its score unknown.
    """

    condition: Tensor

    def __init__(self, field: PathField, classifier: Classifier, condition: Tensor) -> None:
        super().__init__(field.path)
        self.gaussian = gaussian_path(field.path, "classifier guidance")
        self.gaussian.require_score()
        self.field, self.classifier, self.condition = field, classifier, condition

    def __call__(self, x: Tensor, t: Tensor) -> PathPrediction:
        self.nfe += 2
        return self.evaluate(x, t)

    def evaluate(self, x: Tensor, t: Tensor) -> PathPrediction:
        return self._conditioned(self.field.evaluate(x, t))

    def unconditional(self) -> PathField:
        """The field that it is made of."""
        return self.field

    def evaluate_both(self, other: PathField, x: Tensor, t: Tensor) -> tuple[PathPrediction, PathPrediction]:
        """Both predictions; where the other is the field it is made of, that is evaluated once."""
        if other is not self.field:
            return super().evaluate_both(other, x, t)
        prediction = other(x, t)
        self.nfe += 1
        return self._conditioned(prediction), prediction

    def _conditioned(self, prediction: PathPrediction) -> PathPrediction:
        t = self.gaussian.clip(prediction.t, "score")
        return prediction.moved("score", self._gradient(prediction.x, t))

    def _gradient(self, x: Tensor, t: Tensor) -> Tensor:
        """grad_x log p_t(y | x) of each point's own label; differentiable where gradients are asked for."""
        if self.condition.shape != x.shape[:1]:
            cause = f"{len(x)} points and labels of shape {tuple(self.condition.shape)}"
            raise UserError(cause, key="labels", hint="one label per point")
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            log_probability = self.classifier(x, t).gather(1, self.condition[:, None]).sum()
            (gradient,) = torch.autograd.grad(log_probability, x, create_graph=differentiable)
        return gradient
