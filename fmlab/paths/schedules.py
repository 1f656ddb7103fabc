"""The paths of flow matching, which begin in noise exactly: CondOT, Cosine, Polynomial, Sqrt."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths.base import precision_at
from fmlab.paths.gaussian import GaussianPath


class _FlowPath(GaussianPath):
    """alpha rises from 0 to 1 and beta = sigma_min + (1 - sigma_min) b, where b falls from 1 to 0.

    Args:
        sigma_min: The noise that is left at t = 1, in [0, 1).
    """

    def __init__(self, sigma_min: float = 0.0) -> None:
        if not 0 <= sigma_min < 1:
            raise UserError(f"{type(self).__name__} needs sigma_min in [0, 1), got {sigma_min}", key="sigma_min")
        self.sigma_min = sigma_min
        self.beta_vanishes_at_end = sigma_min == 0

    @abstractmethod
    def _fall(self, t: Tensor) -> Tensor:
        """b, which is beta at sigma_min = 0."""

    @abstractmethod
    def _fall_dot(self, t: Tensor) -> Tensor:
        """db / dt."""

    def beta(self, t: Tensor) -> Tensor:
        if self.sigma_min == 0:
            return self._fall(t)
        # Not 1 - (1 - sigma_min) alpha, the same on the straight path: in float32 that loses a small sigma_min.
        return self.sigma_min + (1 - self.sigma_min) * self._fall(t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return (1 - self.sigma_min) * self._fall_dot(t)

    def _alpha_at(self, log_snr: Tensor) -> Tensor:
        """alpha = 1 / (beta / alpha + 1 - sigma_min) where b = 1 - alpha; nothing overflows in this form."""
        keep = 1 - self.sigma_min
        return torch.sigmoid(log_snr / 2 + math.log(keep)) / keep


class CondOT(_FlowPath):
    """The straight path alpha = t, beta = 1 - (1 - sigma_min) t (Lipman et al. 2023, equation 22).

    It begins in noise alone (alpha = 0, beta = 1) and ends at alpha = 1, beta = sigma_min.

    Args:
        sigma_min: The noise that is left at t = 1, in [0, 1); 0 ends in the data themselves.
    """

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def pair_velocity(self, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z - (1 - sigma_min) eps, the same at all times."""
        precise = precision_at(t, data)
        return torch.sub(data.to(precise), noise.to(precise), alpha=1 - self.sigma_min)

    def _fall(self, t: Tensor) -> Tensor:
        return 1 - t

    def _fall_dot(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return self._alpha_at(log_snr)


class Cosine(_FlowPath):
    """The trigonometric path alpha = sin(pi t / 2), beta = cos(pi t / 2), also called GVP (Albergo et al. 2023).

    It begins in noise alone (alpha = 0, beta = 1) and ends at alpha = 1, beta = sigma_min, with
    beta = sigma_min + (1 - sigma_min) cos(pi t / 2).

    Args:
        sigma_min: The noise that is left at t = 1, in [0, 1); 0 ends in the data themselves.
    """

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * t)

    def alpha_dot(self, t: Tensor) -> Tensor:
        return math.pi / 2 * self._fall(t)

    def _fall(self, t: Tensor) -> Tensor:
        # sin of the complement is exactly 0 at t = 1, which cos(pi / 2) in floating point is not.
        return torch.sin(math.pi / 2 * (1 - t))

    def _fall_dot(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * self.alpha(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        # With r = alpha / beta and c = 1 - sigma_min, alpha = r beta is sin(angle) - r c cos(angle) = r sigma_min: one
        # sine with its phase shifted by atan(r c).
        keep = 1 - self.sigma_min
        shift = torch.atan(keep * torch.exp(log_snr / 2))
        rest = torch.asin((self.sigma_min / torch.sqrt(torch.exp(-log_snr) + keep**2)).clamp(max=1))
        return (shift + rest) * (2 / math.pi)


class Polynomial(_FlowPath):
    """alpha = t^n, beta = 1 - (1 - sigma_min) t^n. From n = 2 on, the velocity says nothing about the data at t = 0.

    It begins in noise alone (alpha = 0, beta = 1) and ends at alpha = 1, beta = sigma_min.

    Args:
        degree: The exponent n, at least 1; 1 is `CondOT`.
        sigma_min: The noise that is left at t = 1, in [0, 1); 0 ends in the data themselves.
    """

    def __init__(self, degree: float = 2.0, sigma_min: float = 0.0) -> None:
        if not degree >= 1:
            raise UserError(f"a Polynomial path needs degree >= 1, got {degree}", key="degree")
        super().__init__(sigma_min)
        self.degree = degree
        self.wronskian_vanishes_at_start = degree > 1

    def alpha(self, t: Tensor) -> Tensor:
        return t**self.degree

    def alpha_dot(self, t: Tensor) -> Tensor:
        return self.degree * t ** (self.degree - 1)

    def _fall(self, t: Tensor) -> Tensor:
        return 1 - t**self.degree

    def _fall_dot(self, t: Tensor) -> Tensor:
        return -self.alpha_dot(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return self._alpha_at(log_snr) ** (1 / self.degree)


class Sqrt(GaussianPath):
    """alpha = t, beta = sqrt(1 - t): the variance of the noise falls evenly (the labs of MIT 6.S184).

    It begins in noise alone (alpha = 0, beta = 1) and ends in the data (alpha = 1, beta = 0), where beta' is infinite.
    """

    beta_dot_infinite_at_end = True

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def beta(self, t: Tensor) -> Tensor:
        return torch.sqrt(1 - t)

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return -0.5 * torch.rsqrt(1 - t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        # With r = alpha / beta the root 2 / (1 + sqrt(1 + 4 / r^2)) of t^2 = r^2 (1 - t) is 1 - exp(-2 asinh(r / 2)).
        return -torch.expm1(-2 * torch.asinh(torch.exp(log_snr / 2) / 2))
