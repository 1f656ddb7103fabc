"""The paths of variance-exploding diffusions, alpha = 1 and beta the noise level: VE, EDM."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths.gaussian import GaussianPath


class _NoiseLevel(GaussianPath):
    """x_t = z + sigma(t) eps with sigma falling from sigma_max to sigma_min.

    Args:
        sigma_min: The noise level at t = 1, positive.
        sigma_max: The noise level at t = 0, larger than `sigma_min`.
    """

    alpha_vanishes_at_start = False
    beta_vanishes_at_end = False

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        if not 0 < sigma_min < sigma_max:
            name = type(self).__name__
            raise UserError(f"{name} needs 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}", key="sigma_min")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    @abstractmethod
    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        """The time at which sigma = exp(-log_snr / 2)."""


class VE(_NoiseLevel):
    """The variance-exploding path alpha = 1, beta = sigma_max (sigma_min / sigma_max)^t (Song et al. 2021, appendix C).

    It begins at beta = sigma_max with the data still in x, so a start from noise alone is right only where sigma_max is
    far beyond the data's spread; it ends at beta = sigma_min. x and the velocity are large near t = 0: train with
    `prediction: EDMPreconditioning` and ScoreMatching.

    Args:
        sigma_min: The noise level at t = 1, positive.
        sigma_max: The noise level at t = 0, larger than `sigma_min`; about the largest distance between two data
            points (Song and Ermon 2020, technique 1).
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        super().__init__(sigma_min, sigma_max)
        self._log_ratio = math.log(sigma_min / sigma_max)

    def beta(self, t: Tensor) -> Tensor:
        return self.sigma_max * torch.exp(self._log_ratio * t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return self._log_ratio * self.beta(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return (-log_snr / 2 - math.log(self.sigma_max)) / self._log_ratio


class EDM(_NoiseLevel):
    """alpha = 1 and beta EDM's noise level at the share t of its grid (Karras et al. 2022, equation 5).

    beta^(1/rho) falls evenly from sigma_max^(1/rho) to sigma_min^(1/rho), so that `UniformGrid` with N - 1 steps visits
    EDM's N noise levels; what EDM adds, a last step from sigma_min to 0, is not part of the path. It begins at beta =
    sigma_max with the data still in x and ends at beta = sigma_min. Train as on `VE`.

    Args:
        sigma_min: The noise level at t = 1, positive.
        sigma_max: The noise level at t = 0, larger than `sigma_min`.
        rho: How much of the time is spent near the data, positive; 1 is uniform in the noise level.
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        super().__init__(sigma_min, sigma_max)
        if not rho > 0:
            raise UserError(f"EDM needs rho > 0, got {rho}", key="rho")
        self.rho = rho
        self._high, self._low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)

    def _root(self, t: Tensor) -> Tensor:
        """beta^(1/rho), exact at both ends."""
        return (1 - t) * self._high + t * self._low

    def beta(self, t: Tensor) -> Tensor:
        return self._root(t) ** self.rho

    def beta_dot(self, t: Tensor) -> Tensor:
        return self.rho * (self._low - self._high) * self._root(t) ** (self.rho - 1)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return (self._high - torch.exp(-log_snr / (2 * self.rho))) / (self._high - self._low)
