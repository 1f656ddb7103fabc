"""The marginal field in closed form, where the data's law after diffusion is known."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fmlab.fields.base import PathField
from fmlab.paths import GaussianPath, Prediction


class Scored(Protocol):
    """A distribution with a score."""

    def score(self, x: Tensor) -> Tensor: ...


class Diffusible(Protocol):
    """A distribution of z for which the law of alpha z + beta eps is known."""

    def diffused(self, alpha: float, beta: float) -> Scored: ...


class ExactField(PathField):
    """The field that a perfect network would learn: s(x) = grad log p_t(x) of the diffused data distribution.

    A solver that follows it shows solver error alone.

    Args:
        distribution: The data's law, such as `Gaussian` or `GaussianMixture`.
        path: The path.
    """

    def __init__(self, distribution: Diffusible, path: GaussianPath) -> None:
        super().__init__(path)
        self.distribution = distribution

    def evaluate(self, x: Tensor, t: Tensor) -> Prediction:
        # As for a network that outputs the score: the velocity needs alpha > 0, so t keeps clear of the start.
        t = self.path.clip(t.to(torch.float64), "score")
        alpha, beta = self.path.alpha(t), self.path.beta(t)
        if t.ndim == 0:
            score = self.distribution.diffused(alpha.item(), beta.item()).score(x)
        else:
            laws = [self.distribution.diffused(a.item(), b.item()) for a, b in zip(alpha, beta)]
            score = torch.cat([law.score(point[None]) for law, point in zip(laws, x)])
        return Prediction(self.path, x, t, "score", score)
