"""The Gaussian paths of the literature, each a pair (alpha, beta) with its exact derivatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from fmlab.errors import UserError
from fmlab.paths.gaussian import GaussianPath


class CondOT(GaussianPath):
    """The straight path alpha = t, beta = 1 - t (Lipman et al. 2023, equation 22 at sigma_min = 0)."""

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def beta(self, t: Tensor) -> Tensor:
        return 1 - t

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(log_snr / 2)


class Cosine(GaussianPath):
    """The trigonometric path alpha = sin(pi t / 2), beta = cos(pi t / 2), also called GVP (Albergo et al. 2023)."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * t)

    def beta(self, t: Tensor) -> Tensor:
        # sin of the complement is exactly 0 at t = 1, which cos(pi / 2) in floating point is not.
        return torch.sin(math.pi / 2 * (1 - t))

    def alpha_dot(self, t: Tensor) -> Tensor:
        return math.pi / 2 * self.beta(t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * self.alpha(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(log_snr / 2)) * (2 / math.pi)


class VP(GaussianPath):
    """The variance-preserving path of the linear-beta diffusion (Song et al. 2021, appendix B), with time reversed.

    alpha = exp(-(1-t)^2 (beta_max - beta_min) / 4 - (1-t) beta_min / 2) and beta = sqrt(1 - alpha^2). It leaves a trace
    of data at the start (alpha(0) = 0.0066 at the usual constants), and beta' is infinite at t = 1.

    Args:
        beta_min: The diffusion's rate at the data end, positive.
        beta_max: The diffusion's rate at the noise end, larger than `beta_min`.
    """

    alpha_vanishes_at_start = False
    beta_dot_infinite_at_end = True

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0 < beta_min < beta_max:
            raise UserError(f"VP needs 0 < beta_min < beta_max, got {beta_min} and {beta_max}", key="beta_min")
        self.beta_min, self.beta_max = beta_min, beta_max

    def _log_alpha(self, t: Tensor) -> Tensor:
        s = 1 - t
        return -(s**2) * (self.beta_max - self.beta_min) / 4 - s * self.beta_min / 2

    def _rate(self, t: Tensor) -> Tensor:
        """d log alpha / dt, half the diffusion's rate at the reversed time."""
        return ((1 - t) * (self.beta_max - self.beta_min) + self.beta_min) / 2

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self._log_alpha(t))

    def beta(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self._log_alpha(t)))

    def alpha_dot(self, t: Tensor) -> Tensor:
        return self.alpha(t) * self._rate(t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return -(self.alpha(t) ** 2) * self._rate(t) / self.beta(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        # -log alpha = softplus(-log_snr) / 2 is a quadratic in 1 - t; this form of its root does not cancel.
        minus_log_alpha = softplus(-log_snr) / 2
        slope, curvature = self.beta_min / 2, (self.beta_max - self.beta_min) / 4
        root = torch.sqrt(slope**2 + 4 * curvature * minus_log_alpha)
        return 1 - 2 * minus_log_alpha / (slope + root)


class Polynomial(GaussianPath):
    """alpha = t^n, beta = 1 - t^n. From n = 2 on, the velocity says nothing about the data at t = 0.

    Args:
        degree: The exponent n, at least 1; 1 is `CondOT`.
    """

    def __init__(self, degree: float = 2.0) -> None:
        if degree < 1:
            raise UserError(f"a Polynomial path needs degree >= 1, got {degree}", key="degree")
        self.degree = degree
        self.wronskian_vanishes_at_start = degree > 1

    def alpha(self, t: Tensor) -> Tensor:
        return t**self.degree

    def beta(self, t: Tensor) -> Tensor:
        return 1 - t**self.degree

    def alpha_dot(self, t: Tensor) -> Tensor:
        return self.degree * t ** (self.degree - 1)

    def beta_dot(self, t: Tensor) -> Tensor:
        return -self.degree * t ** (self.degree - 1)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(log_snr / 2) ** (1 / self.degree)

    def __repr__(self) -> str:
        return f"Polynomial(degree={self.degree!r})"
