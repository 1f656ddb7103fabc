"""EDM's preconditioning on any Gaussian path."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths.base import expand_time
from fmlab.paths.gaussian import GaussianPath
from fmlab.paths.prediction import Prediction
from fmlab.representation import ShownByAttributes


class EDMPreconditioning(ShownByAttributes):
    """A network F of unit-variance inputs and targets (Karras et al. 2022, table 1 and section 5).

    With V = alpha^2 sigma_data^2 + beta^2 the network sees c_in x = x / sqrt(V), and the expected data are
    c_skip x + c_out F with c_skip = alpha sigma_data^2 / V and c_out = beta sigma_data / sqrt(V). At alpha = 1, beta =
    sigma these are EDM's own; on another path they are EDM's for x / alpha at the noise level beta / alpha.

    The velocity is then (log sqrt V)' x + sigma_data D / sqrt(V) F, which divides by nothing that vanishes.

    Args:
        sigma_data: The standard deviation of the data, positive; EDM's 0.5 suits natural images in [-1, 1].
    """

    def __init__(self, sigma_data: float = 0.5) -> None:
        if not sigma_data > 0:
            raise UserError(f"a standard deviation is positive, got {sigma_data}", key="sigma_data")
        self.sigma_data = sigma_data

    def variance(self, t: Tensor, path: GaussianPath) -> Tensor:
        """V = alpha^2 sigma_data^2 + beta^2, the variance of x_t."""
        return (path.alpha(t) * self.sigma_data) ** 2 + path.beta(t) ** 2

    def c_in(self, t: Tensor, path: GaussianPath) -> Tensor:
        """The factor that gives the network's input unit variance."""
        return self.variance(t, path).rsqrt()

    def c_skip(self, t: Tensor, path: GaussianPath) -> Tensor:
        """The share of x_t in the expected data."""
        return path.alpha(t) * self.sigma_data**2 / self.variance(t, path)

    def c_out(self, t: Tensor, path: GaussianPath) -> Tensor:
        """The factor of the network's output in the expected data."""
        return path.beta(t) * self.sigma_data * self.variance(t, path).rsqrt()

    def input(self, x: Tensor, t: Tensor, path: GaussianPath) -> Tensor:
        """c_in x for `x` (B, *event) and `t` of shape () or (B,)."""
        return self.c_in(expand_time(t, x), path) * x

    def prediction(self, output: Tensor, x: Tensor, t: Tensor, path: GaussianPath) -> Prediction:
        """What the network's output says, as a velocity; the other quantities follow from it."""
        time = expand_time(t, x)
        variance = self.variance(time, path)
        growth = path.alpha(time) * path.alpha_dot(time) * self.sigma_data**2 + path.beta(time) * path.beta_dot(time)
        scale = self.sigma_data * path.wronskian(time) * torch.rsqrt(variance)
        return Prediction(path, x, t, "velocity", growth / variance * x + scale * output)
