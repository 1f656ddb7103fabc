"""The marginal field in closed form, where the posterior of the data given a noised point is known."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fmlab.fields.base import PathField
from fmlab.paths import GaussianPath, Posterior, expand_time


class PosteriorMean(Protocol):
    """A law of z of which the expected data and noise given x = alpha z + beta eps are known.

    `posterior(x, alpha, beta)` takes flattened points (B, d) and factors of shape (B, 1) and returns E[z | x],
    E[eps | x], both (B, d), and grad log p(x) where it is known without dividing by beta, or None.
    """

    def posterior(self, x: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor | None]: ...


class ExactField(PathField):
    """The field that a perfect network would learn.

    A solver that follows it shows solver error alone. Points may have any event shape of as many entries as the law's.

    Args:
        distribution: The data's law, such as `Gaussian`, `GaussianMixture` or `Empirical`.
        path: The path.
    """

    def __init__(self, distribution: PosteriorMean, path: GaussianPath) -> None:
        super().__init__(path)
        self.gaussian = path
        self.distribution = distribution

    def evaluate(self, x: Tensor, t: Tensor) -> Posterior:
        t = self.gaussian.clip(t, "velocity")
        times = expand_time(t.to(torch.float64), x.flatten(1)).expand(len(x), 1)
        alpha, beta = self.gaussian.alpha(times), self.gaussian.beta(times)
        data, noise, score = self.distribution.posterior(x.flatten(1), alpha.to(x.dtype), beta.to(x.dtype))
        exact = None if score is None else score.view(x.shape)
        return Posterior(self.gaussian, x, t, data.view(x.shape), noise.view(x.shape), exact)
