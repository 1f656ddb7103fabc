"""Diffusion coefficients sigma_t of the SDE extension; every one leaves the marginals as they are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import GaussianPath, ProbabilityPath
from fmlab.representation import ShownByAttributes


class DiffusionCoefficient(ShownByAttributes, ABC):
    """A function sigma_t >= 0 of time along a path."""

    @abstractmethod
    def __call__(self, t: Tensor, path: ProbabilityPath) -> Tensor:
        """sigma_t, shaped like `t`."""


class ScaledDiffusion(DiffusionCoefficient):
    """A coefficient times a number.

    Args:
        scale: The number, not negative; 0 gives the ODE.
    """

    def __init__(self, scale: float = 1.0) -> None:
        if scale < 0:
            raise UserError(f"a diffusion coefficient is not negative, got {scale}", key="scale")
        self.scale = scale


class ConstantDiffusion(ScaledDiffusion):
    """sigma_t = scale at every time. Near t = 1 it needs steps shorter than beta_t^2 / scale^2.

    Args:
        scale: The coefficient, not negative; 0 gives the ODE.
    """

    def __call__(self, t: Tensor, path: ProbabilityPath) -> Tensor:
        return torch.full_like(t, self.scale)


class NoiseLevelDiffusion(ScaledDiffusion):
    """sigma_t^2 = 2 scale^2 beta_t, which vanishes with the noise and keeps the drift's stiffness at 1 / beta_t.

    At scale 1 it is the form that SiT calls "sigma" (Ma et al. 2024, section 2.4). On a bridge between two laws the
    noise is gamma_t in place of beta_t.

    Args:
        scale: How much noise, not negative; 0 gives the ODE.
    """

    def __call__(self, t: Tensor, path: ProbabilityPath) -> Tensor:
        return self.scale * torch.sqrt(2 * path.noise_scale(t))


class ProportionalDiffusion(ScaledDiffusion):
    """sigma_t = scale beta_t: noise as a share of the noise that is there, which adds no stiffness to the drift.

    It is EDM's SDE at a constant beta(t) = scale^2 / 2 (Karras et al. 2022, equation 6), for x / alpha at the noise
    level beta / alpha on any path. On a bridge between two laws the noise is gamma_t in place of beta_t.

    Args:
        scale: How much noise, not negative; 0 gives the ODE.
    """

    def __call__(self, t: Tensor, path: ProbabilityPath) -> Tensor:
        return self.scale * path.noise_scale(t)


class SineDiffusion(ScaledDiffusion):
    """sigma_t^2 = 2 scale^2 sin^2(pi t): none at either end, most half-way.

    At scale 1 it is the form that SiT's code calls "inccreasing-decreasing" (Ma et al. 2024).

    Args:
        scale: How much noise, not negative; 0 gives the ODE.
    """

    def __call__(self, t: Tensor, path: ProbabilityPath) -> Tensor:
        return self.scale * math.sqrt(2) * torch.sin(math.pi * t).clamp(min=0)


class MemorylessDiffusion(DiffusionCoefficient):
    """sigma_t^2 = 2 beta_t D_t / alpha_t with D = alpha' beta - alpha beta': the end forgets the start.

    X_0 and X_1 become independent (Domingo-Enrich et al. 2025, Adjoint Matching); on VP it is Song et al.'s reversed
    diffusion. Where alpha vanishes at t = 0 the coefficient is infinite: there t is clipped, and the first steps
    should be shorter than 0.02.
    """

    def __call__(self, t: Tensor, path: ProbabilityPath) -> Tensor:
        gaussian = _gaussian(path, self)
        t = gaussian.clip_for(t, alpha=True)
        return torch.sqrt(2 * gaussian.beta(t) * gaussian.wronskian(t) / gaussian.alpha(t))


def _gaussian(path: ProbabilityPath, coefficient: DiffusionCoefficient) -> GaussianPath:
    if not isinstance(path, GaussianPath):
        cause = f"{type(coefficient).__name__} needs a Gaussian path, here is {type(path).__name__}"
        raise UserError(cause, key="solver.diffusion", hint="give a number, such as --solver.diffusion=0.5")
    return path
