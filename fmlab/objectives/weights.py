"""How much the error counts at each time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import GaussianPath, ProbabilityPath, gaussian_path
from fmlab.representation import ShownByAttributes

Space = Literal["velocity", "noise"]
"""In what a module measures its error; the weight of one error differs from space to space by a function of t."""


class Weight(ShownByAttributes, ABC):
    """A factor w(t) >= 0 of the squared error."""

    @abstractmethod
    def __call__(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        """The factor of an error in that space, shaped like `t` (B,)."""

    def clip(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        """`t` moved to where the factor is finite; by default it is so everywhere."""
        return t


class UniformWeight(Weight):
    """The error as it is, in the module's own space."""

    def __call__(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        return torch.ones_like(t)


class GaussianWeight(Weight):
    """A weight that the literature gives to the error of the data or of the noise, on a Gaussian path.

    By |dv|^2 = (D / beta)^2 |dz|^2 = (D / alpha)^2 |deps|^2 with D = alpha' beta - alpha beta' it has a factor in each
    space, and the weighted squared error is the same in all of them.
    """

    @abstractmethod
    def of_velocity(self, t: Tensor, path: GaussianPath) -> Tensor:
        """The factor of the squared velocity error."""

    @abstractmethod
    def of_noise(self, t: Tensor, path: GaussianPath) -> Tensor:
        """The factor of the squared noise error."""

    def __call__(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        gaussian = gaussian_path(path, type(self).__name__)
        return self.of_velocity(t, gaussian) if space == "velocity" else self.of_noise(t, gaussian)


class EDMWeight(GaussianWeight):
    """EDM's (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 on the data error (Karras et al. 2022, table 1).

    With sigma = beta / alpha it makes the network of `EDMPreconditioning` see errors of one size at every time.

    Args:
        sigma_data: The standard deviation of the data, positive; the preconditioning's own.
    """

    def __init__(self, sigma_data: float = 0.5) -> None:
        if not sigma_data > 0:
            raise UserError(f"a standard deviation is positive, got {sigma_data}", key="sigma_data")
        self.sigma_data = sigma_data

    def of_velocity(self, t: Tensor, path: GaussianPath) -> Tensor:
        """(alpha^2 sigma_data^2 + beta^2) / (sigma_data D)^2."""
        return self._variance(t, path) / (self.sigma_data * path.wronskian(t)) ** 2

    def of_noise(self, t: Tensor, path: GaussianPath) -> Tensor:
        """(alpha^2 sigma_data^2 + beta^2) / (sigma_data alpha)^2."""
        return self._variance(t, path) / (self.sigma_data * path.alpha(t)) ** 2

    def _variance(self, t: Tensor, path: GaussianPath) -> Tensor:
        return (path.alpha(t) * self.sigma_data) ** 2 + path.beta(t) ** 2

    def clip(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        gaussian = gaussian_path(path, "EDMWeight")
        return gaussian.clip_for(t, alpha=space == "noise", wronskian=space == "velocity")


class MinSNRWeight(GaussianWeight):
    """min(SNR, gamma) on the data error, SNR = alpha^2 / beta^2 (Hang et al. 2023).

    Args:
        gamma: The largest weight, positive.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        if not gamma > 0:
            raise UserError(f"MinSNRWeight needs gamma > 0, got {gamma}", key="gamma")
        self.gamma = gamma

    def of_velocity(self, t: Tensor, path: GaussianPath) -> Tensor:
        """min(alpha^2, gamma beta^2) / D^2."""
        return torch.minimum(path.alpha(t) ** 2, self.gamma * path.beta(t) ** 2) / path.wronskian(t) ** 2

    def of_noise(self, t: Tensor, path: GaussianPath) -> Tensor:
        """min(1, gamma / SNR), which is 1 where alpha is 0."""
        return (self.gamma * (path.beta(t) / path.alpha(t)) ** 2).clamp(max=1)

    def clip(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        return gaussian_path(path, "MinSNRWeight").clip_for(t, wronskian=space == "velocity")


class LikelihoodWeight(GaussianWeight):
    """Half the rate of log-SNR on the noise error: the squared error then bounds the negative log-likelihood.

    With t uniform and up to a constant, in nats a dimension (Kingma et al. 2021, Variational Diffusion Models). On VP
    it is g^2 / 2 on the score error (Song et al. 2021, Maximum Likelihood Training of Score-Based Diffusion Models).
    """

    def of_velocity(self, t: Tensor, path: GaussianPath) -> Tensor:
        """alpha / (beta D)."""
        return path.alpha(t) / (path.beta(t) * path.wronskian(t))

    def of_noise(self, t: Tensor, path: GaussianPath) -> Tensor:
        """D / (alpha beta)."""
        return path.wronskian(t) / (path.alpha(t) * path.beta(t))

    def clip(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        gaussian = gaussian_path(path, "LikelihoodWeight")
        return gaussian.clip_for(t, beta=True, alpha=space == "noise", wronskian=space == "velocity")
