"""Steps in the log-SNR of a Gaussian path: what the exponential methods share.

With lambda = log(alpha / beta), half the log-SNR, the flow of data prediction z is exactly
x' = beta'/beta x + alpha' * (the integral of exp(l - lambda') z(l) dl from lambda to lambda'): the linear part is
solved and the error is that of z alone (Lu et al. 2022, DPM-Solver++, proposition 4.1).

The ends of time, in one place: lambda is infinite where alpha or beta is 0. There the step is the first-order one, of
which every coefficient has a limit: from alpha = 0 it is alpha' z + beta' x / beta, and into beta = 0 it is the
expected data. What is predicted where lambda is infinite is no point of a later step's polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fmlab.paths import GaussianPath, gaussian_path
from fmlab.solvers.base import Field
from fmlab.solvers.runge_kutta import weighted_sum


class GaussianEvaluation(Protocol):
    """What a field on a Gaussian path returns, as far as the methods here ask."""

    @property
    def data(self) -> Tensor: ...

    @property
    def noise(self) -> Tensor: ...


def evaluate(field: Field, x: Tensor, t: Tensor) -> GaussianEvaluation:
    """One evaluation of a field of which `gaussian_path` has said that its path is Gaussian."""
    evaluation: GaussianEvaluation = field(x, t)  # type: ignore[assignment]
    return evaluation


@dataclass(frozen=True)
class Level:
    """How much of x is data and how much noise at one time.

    Attributes:
        alpha: The share of data.
        beta: The share of noise.
    """

    alpha: float
    beta: float

    @property
    def finite(self) -> bool:
        """Whether the log-SNR is."""
        return self.alpha > 0 and self.beta > 0

    @property
    def half_log_snr(self) -> float:
        """lambda = log(alpha / beta), infinite where either is 0."""
        if not self.finite:
            return math.inf if self.alpha > 0 else -math.inf
        return math.log(self.alpha) - math.log(self.beta)


def levels(field: Field, t: Tensor, t_next: Tensor, asks: str) -> tuple[Level, Level]:
    """Where a step begins and ends; `asks` names the solver.

    Raises:
        UserError: If the field's path is not Gaussian.
    """
    path = gaussian_path(field.path, asks)
    return level(path, t), level(path, t_next)


def level(path: GaussianPath, t: Tensor) -> Level:
    """Where one time lies, in float64 whatever the state's precision."""
    t = t.detach().cpu().double()
    return Level(path.alpha(t).item(), path.beta(t).item())


def first_order_step(x: Tensor, evaluation: GaussianEvaluation, here: Level, there: Level) -> Tensor:
    """alpha' z + beta' eps, the DDIM step: exact while z does not change, and finite at both ends of time."""
    if here.beta == 0:  # only a backward solve begins here, and x = alpha z says nothing about the noise
        return there.alpha * evaluation.data + there.beta * evaluation.noise
    keep = there.beta / here.beta
    return keep * x + (there.alpha - here.alpha * keep) * evaluation.data


def exponential_step(
    x: Tensor, here: Level, there: Level, points: Sequence[float], predictions: Sequence[Tensor]
) -> Tensor:
    """The step on which z is the polynomial through `predictions` at the half log-SNRs `points`, here among them."""
    weights = exponential_weights(
        [point - here.half_log_snr for point in points], there.half_log_snr - here.half_log_snr
    )
    return there.beta / here.beta * x + there.alpha * weighted_sum(weights, predictions)


def exponential_weights(points: Sequence[float], h: float) -> list[float]:
    """What each of the values at distinct `points` counts in the integral of exp(l - h) P(l) from 0 to h.

    P is their polynomial. A straight line counts by its value half-way, as in DPM-Solver++ (Lu et al. 2022, algorithms
    1 and 2) and UniPC (Zhao et al. 2023, B(h) = exp(h) - 1); a higher polynomial is integrated exactly, as in UniPC.
    """
    if len(points) == 2:
        (first, second), total = points, integral(0, h)
        share = (h / 2 - first) / (second - first)
        return [total * (1 - share), total * share]
    scaled = torch.tensor(points, dtype=torch.float64) / h
    powers = torch.stack([scaled**k for k in range(len(points))])
    moments = torch.tensor([integral(k, h) / h**k for k in range(len(points))], dtype=torch.float64)
    return torch.linalg.solve(powers, moments).tolist()


def integral(k: int, h: float) -> float:
    """The integral of exp(l - h) l^k from 0 to h, of any sign."""
    if abs(h) < 1:  # the series, where the recursion below would cancel
        return sum((-1) ** j * h ** (k + 1 + j) * math.factorial(k) / math.factorial(k + 1 + j) for j in range(20))
    return -math.expm1(-h) if k == 0 else h**k - k * integral(k - 1, h)
