"""Paths whose source is any law: data to data, with or without the noise of a bridge."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths.base import Output, PathSample, ProbabilityPath, as_precise, expand_time
from fmlab.paths.gaussian import GaussianPath
from fmlab.paths.schedules import CondOT


class Interpolant(ProbabilityPath):
    """x_t = alpha_t z + beta_t x_0 + gamma_t eps for a source x_0 of any law, gamma_t = sigma sqrt(t (1 - t)).

    A stochastic interpolant (Albergo et al. 2023, definition 1). On `CondOT` with sigma > 0 each pair is joined by a
    Brownian bridge, and with pairs drawn from the entropic optimal coupling of regularisation 2 sigma^2 the marginals
    are those of the Schrödinger bridge (Tong et al. 2024, [SF]2M, proposition 3.2).

    A source that is not Gaussian leaves no conversion between velocity and score: a network gives the velocity, and
    with `prediction: velocity_and_score` the score as well (which exists where sigma > 0).

    Args:
        schedule: The Gaussian path whose alpha and beta weigh data and source; CondOT if left out.
        sigma: The bridge's diffusion, not negative; 0 adds no noise.
    """

    # gamma' is infinite at both ends; there t is clipped for training and sampling alike.
    MARGIN: float = 0.001

    def __init__(self, schedule: GaussianPath | None = None, sigma: float = 0.0) -> None:
        if sigma < 0:
            raise UserError(f"a bridge's diffusion is not negative, got {sigma}", key="sigma")
        self.schedule = schedule or CondOT()
        self.sigma = sigma

    @property
    def needs_noise(self) -> bool:  # type: ignore[override]
        """Whether the bridge adds noise."""
        return self.sigma > 0

    def initial(self, source: Tensor) -> Tensor:
        """beta(0) times the source."""
        return self.schedule.initial(source)

    def mean(self, data: Tensor, source: Tensor, t: Tensor) -> Tensor:
        """alpha_t z + beta_t x_0."""
        return self.schedule.sample(data, source, t)

    def noise_scale(self, t: Tensor) -> Tensor:
        """gamma_t."""
        return self.sigma * torch.sqrt(t * (1 - t))

    def noise_scale_dot(self, t: Tensor) -> Tensor:
        """d gamma / dt = sigma (1 - 2t) / (2 sqrt(t (1 - t))); infinite at both ends."""
        return self.sigma * (1 - 2 * t) / (2 * torch.sqrt(t * (1 - t)))

    def draw(self, data: Tensor, source: Tensor, t: Tensor, noise: Tensor | None = None) -> PathSample:
        """The point, its velocity alpha' z + beta' x_0 + gamma' eps, and eps.

        Raises:
            UserError: If the bridge needs noise and is given none.
        """
        x, velocity = self.mean(data, source, t), self.schedule.pair_velocity(data, source, t)
        time = expand_time(t, data)
        scale = self.noise_scale(time)
        if not self.needs_noise:
            return PathSample(x, t, velocity, None, scale)
        if noise is None:
            raise UserError("a bridge with sigma > 0 needs noise beside the source", key="noise")
        return PathSample(x + scale * noise, t, velocity + self.noise_scale_dot(time) * noise, noise, scale)

    def clip(self, t: Tensor, output: Output) -> Tensor:
        """`t` moved off the ends at which a derivative is infinite.

        Raises:
            UserError: If the output is not the velocity, alone or with the score.
        """
        if output not in ("velocity", "velocity_and_score"):
            raise UserError(
                f"a source that is not Gaussian has no conversion from {output} to velocity",
                key="model.prediction",
                hint="use velocity, or velocity_and_score for both",
            )
        margin = self.MARGIN if self.needs_noise else 0.0
        high = margin if margin or not self.schedule.beta_dot_infinite_at_end else self.schedule.HIGH_MARGIN
        return as_precise(t).clamp(self.t_start + margin, self.t_end - high)

    def clip_exact(self, t: Tensor) -> Tensor:
        margin = self.schedule.EXACT_MARGIN if self.needs_noise and self.MARGIN else 0.0
        return self.schedule.clip_exact(t).clamp(self.t_start + margin, self.t_end - margin)


class SchrodingerBridge(Interpolant):
    """Brownian bridges of diffusion sigma between coupled pairs: the path that [SF]2M learns (Tong et al. 2024).

    With the coupling `SinkhornOT(regularisation=2 sigma^2)` its marginals are those of the Schrödinger bridge.

    Args:
        sigma: The bridge's diffusion, positive.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        if not sigma > 0 or not math.isfinite(sigma):
            raise UserError(
                f"a Schrödinger bridge needs sigma > 0, got {sigma}", key="sigma", hint="or use Interpolant"
            )
        super().__init__(CondOT(), sigma)


class SmoothedInterpolant(Interpolant):
    """x_t = t z + (1 - t) x_0 + sigma eps, the same noise at all times: the path of I-CFM and OT-CFM.

    Equation 14 of Tong et al. 2024 ("Improving and generalizing flow-based generative models"). Both ends are smoothed:
    the flow that is learned leads from the source with noise to the data with noise, each of standard deviation sigma,
    while a solve starts from the source as it is.

    Args:
        sigma: The noise, positive.
    """

    MARGIN = 0.0  # nothing is infinite at the ends

    def __init__(self, sigma: float = 0.1) -> None:
        if not sigma > 0 or not math.isfinite(sigma):
            raise UserError(f"smoothing needs sigma > 0, got {sigma}", key="sigma", hint="or use Interpolant")
        super().__init__(CondOT(), sigma)

    def noise_scale(self, t: Tensor) -> Tensor:
        """sigma."""
        return torch.full_like(t, self.sigma)

    def noise_scale_dot(self, t: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(t)
