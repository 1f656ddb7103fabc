"""The marginal field in closed form, where the posterior of the data given a noised point is known."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import ConditionedField
from fmlab.paths import GaussianPath, Posterior, expand_time, gaussian_path


class PosteriorMean(Protocol):
    """A law of z whose expected data and noise, given x = alpha z + beta eps, are known in closed form.

    `posterior(x, alpha, beta)` takes flattened points (B, d) and factors of shape (B, 1) and returns E[z | x],
    E[eps | x], both (B, d), and grad log p(x) where it is known without dividing by beta, or None.

    A law with classes also has `num_classes` and `restricted(label)`, the law of one class.
    """

    def posterior(self, x: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor | None]: ...


class ExactField(ConditionedField):
    """The field that a perfect network would learn.

    A solver that follows it shows solver error alone. Points may have any event shape of as many entries as the law's.
    It is computed in float64 (on the CPU if the device has none) and returned in the precision of `x`.

    Args:
        distribution: The data's law, such as `Gaussian`, `GaussianMixture` or `Empirical`.
        path: The path.
        condition: One label per point, of shape (B,): each point sees the law of its class, and label `num_classes`,
            "no label", the whole law. None for the unconditional field.

    Raises:
        UserError: When the path is not Gaussian, or a law without classes is given a condition.
    """

    def __init__(self, distribution: PosteriorMean, path: GaussianPath, condition: Tensor | None = None) -> None:
        super().__init__(path)
        self.gaussian = gaussian_path(path, "an exact field")
        if condition is not None and getattr(distribution, "num_classes", None) is None:
            raise UserError(f"{type(distribution).__name__} has no classes to condition on", key="labels")
        self.distribution, self.condition = distribution, condition

    def evaluate(self, x: Tensor, t: Tensor) -> Posterior:
        t = self.gaussian.clip_exact(t)
        device = torch.device("cpu") if x.device.type == "mps" else x.device
        flat = x.flatten(1).to(device).double()
        times = expand_time(t.to(device), flat).expand(len(x), 1)
        parts = self._posterior(flat, self.gaussian.alpha(times), self.gaussian.beta(times))
        data, noise, score = (None if part is None else part.to(x.dtype).to(x.device).view(x.shape) for part in parts)
        assert data is not None
        assert noise is not None
        return Posterior(self.gaussian, x, t, data, noise, score)

    def _posterior(self, x: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The posterior of each point under the law of its own class; the points of one class go together."""
        if self.condition is None:
            return self.distribution.posterior(x, alpha, beta)
        if self.condition.shape != x.shape[:1]:
            cause = f"{len(x)} points and labels of shape {tuple(self.condition.shape)}"
            raise UserError(cause, key="labels", hint="one label per point")
        labels = self.condition.to(x.device)
        groups = [(label, (labels == label).nonzero().squeeze(1)) for label in labels.unique().tolist()]
        parts = [self._law(label).posterior(x[rows], alpha[rows], beta[rows]) for label, rows in groups]
        order = torch.cat([rows for _, rows in groups]).argsort()
        data, noise, scores = zip(*parts)
        score = None if scores[0] is None else torch.cat(scores)[order]
        return torch.cat(data)[order], torch.cat(noise)[order], score

    def _law(self, label: int) -> PosteriorMean:
        law = self.distribution
        return law if label == law.num_classes else law.restricted(label)  # type: ignore[attr-defined]

    def unconditional(self) -> ExactField:
        """The field of the whole law."""
        return ExactField(self.distribution, self.gaussian)
