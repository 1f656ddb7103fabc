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
from fmlab.solvers.base import Field, Past, Solver, Step
from fmlab.solvers.runge_kutta import weighted_sum


class GaussianFieldValue(Protocol):
    """What a field on a Gaussian path returns, as far as the methods here ask."""

    @property
    def data(self) -> Tensor: ...

    @property
    def noise(self) -> Tensor: ...


def evaluate(field: Field, x: Tensor, t: Tensor) -> GaussianFieldValue:
    """One evaluation of a field of which `gaussian_path` has said that its path is Gaussian."""
    value: GaussianFieldValue = field(x, t)  # type: ignore[assignment]
    return value


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


def levels(field: Field, step: Step, solver: Solver) -> tuple[Level, Level]:
    """The levels where a solver's step begins and ends.

    Raises:
        UserError: If the field's path is not Gaussian.
    """
    path = gaussian_path(field.path, type(solver).__name__)
    return level(path, step.t), level(path, step.t_next)


def level(path: GaussianPath, t: Tensor) -> Level:
    """Where one time lies, in float64 whatever the state's precision."""
    t = t.detach().cpu().double()
    return Level(path.alpha(t).item(), path.beta(t).item())


def first_order_step(x: Tensor, value: GaussianFieldValue, start: Level, end: Level) -> Tensor:
    """alpha' z + beta' eps, the DDIM step: exact while z does not change, and finite at both ends of time."""
    if start.beta == 0:  # only a backward solve begins here, and x = alpha z says nothing about the noise
        return end.alpha * value.data + end.beta * value.noise
    ratio = end.beta / start.beta
    return ratio * x + (end.alpha - start.alpha * ratio) * value.data


def exponential_step(x: Tensor, start: Level, end: Level, past: Past) -> Tensor:
    """The step on which z is a polynomial in half the log-SNR through past data predictions, the start's included."""
    points = [point - start.half_log_snr for point in past.points]
    weights = exponential_weights(points, end.half_log_snr - start.half_log_snr)
    return end.beta / start.beta * x + end.alpha * weighted_sum(weights, past.values)


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
