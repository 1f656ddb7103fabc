"""The paths of variance-preserving diffusions: VP, SubVP, LinearVP."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fmlab.errors import UserError
from fmlab.paths.gaussian import GaussianPath


class _LinearRate(GaussianPath):
    """The diffusion whose rate rises linearly from beta_min to beta_max, with time reversed: what VP and SubVP share.

    Args:
        beta_min: The diffusion's rate at the data end, positive.
        beta_max: The diffusion's rate at the noise end, larger than `beta_min`.
    """

    alpha_vanishes_at_start = False

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0 < beta_min < beta_max:
            name = type(self).__name__
            raise UserError(f"{name} needs 0 < beta_min < beta_max, got {beta_min} and {beta_max}", key="beta_min")
        self.beta_min, self.beta_max = beta_min, beta_max

    def _log_alpha(self, t: Tensor) -> Tensor:
        s = 1 - t
        return -(s**2) * (self.beta_max - self.beta_min) / 4 - s * self.beta_min / 2

    def _rate(self, t: Tensor) -> Tensor:
        """d log alpha / dt, half the diffusion's rate at the reversed time."""
        return ((1 - t) * (self.beta_max - self.beta_min) + self.beta_min) / 2

    def _time_at(self, minus_log_alpha: Tensor) -> Tensor:
        """The time with that -log alpha, a quadratic in 1 - t; this form of its root does not cancel."""
        slope, curvature = self.beta_min / 2, (self.beta_max - self.beta_min) / 4
        # Far beyond the start, where the square root would overflow, any time before it will do.
        minus_log_alpha = minus_log_alpha.clamp(max=1e30)
        root = torch.sqrt(slope**2 + 4 * curvature * minus_log_alpha)
        return 1 - 2 * minus_log_alpha / (slope + root)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self._log_alpha(t))

    def alpha_dot(self, t: Tensor) -> Tensor:
        return self.alpha(t) * self._rate(t)


class VP(_LinearRate):
    """The variance-preserving path of the linear-beta diffusion (Song et al. 2021, appendix B), with time reversed.

    alpha = exp(-(1-t)^2 (beta_max - beta_min) / 4 - (1-t) beta_min / 2) and beta = sqrt(1 - alpha^2). It leaves a trace
    of data at the start (alpha(0) = 0.0066 at the usual constants), and beta' is infinite at t = 1.

    Args:
        beta_min: The diffusion's rate at the data end, positive.
        beta_max: The diffusion's rate at the noise end, larger than `beta_min`.
    """

    beta_dot_infinite_at_end = True

    def beta(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self._log_alpha(t)))

    def beta_dot(self, t: Tensor) -> Tensor:
        return -(self.alpha(t) ** 2) * self._rate(t) / self.beta(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        # alpha^2 = sigmoid(log_snr).
        return self._time_at(-logsigmoid(log_snr) / 2)


class SubVP(_LinearRate):
    """The sub-VP path: alpha of `VP` and beta = 1 - alpha^2, never noisier than it (Song et al. 2021, equation 29).

    It leaves VP's trace of data at the start (alpha(0) = 0.0066, beta(0) = 0.99996 at the usual constants) and ends in
    the data (alpha = 1, beta = 0) with finite derivatives.

    Args:
        beta_min: The diffusion's rate at the data end, positive.
        beta_max: The diffusion's rate at the noise end, larger than `beta_min`.
    """

    def beta(self, t: Tensor) -> Tensor:
        return -torch.expm1(2 * self._log_alpha(t))

    def beta_dot(self, t: Tensor) -> Tensor:
        return -2 * self.alpha(t) ** 2 * self._rate(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        # beta / alpha = 1 / alpha - alpha = 2 sinh(-log alpha).
        return self._time_at(torch.asinh(torch.exp(-log_snr / 2) / 2))


class LinearVP(GaussianPath):
    """alpha = t, beta = sqrt(1 - t^2): variance-preserving, with the alpha of the straight path (Lipman et al. 2024).

    It begins in noise alone (alpha = 0, beta = 1) and ends in the data (alpha = 1, beta = 0), where beta' is infinite.
    """

    beta_dot_infinite_at_end = True

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def beta(self, t: Tensor) -> Tensor:
        return torch.sqrt((1 - t) * (1 + t))

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return -t / self.beta(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        # alpha^2 = sigmoid(log_snr), whose square root is taken in the logarithm so that it does not underflow.
        return torch.exp(logsigmoid(log_snr) / 2)
