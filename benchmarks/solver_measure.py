"""What the solver benchmark measures: errors of solves, as the package measures them, and errors of laws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fmlab.distributions import GaussianMixture
from fmlab.fields import max_steps_within
from fmlab.figures.convergence import TOLERANCES, Case, Solve, rms

__all__ = [
    "TOLERANCES",
    "Case",
    "LawPoint",
    "Results",
    "Solve",
    "law_errors",
    "max_steps_within",
    "rms",
    "typical_law_errors",
]


@dataclass
class Results:
    """What was measured on one case.

    Attributes:
        orders: The order that each fixed-step solver declares.
        solvers: Each fixed-step solver on UniformGrid, one point a budget.
        tolerances: Each adaptive solver, one point a tolerance.
        grids: Each grid with Euler, Heun and DPMSolverPP2M, one point a budget.
    """

    case: Case
    orders: dict[str, float]
    solvers: dict[str, list[Solve | None]]
    tolerances: dict[str, list[Solve]]
    grids: dict[tuple[str, str], list[Solve | None]]


@dataclass(frozen=True)
class LawPoint:
    """A solve seen as a law: errors of its mean and of its covariance, each a norm relative to the exact one's."""

    nfe: int
    mean: float
    covariance: float


def law_errors(samples: Tensor, law: GaussianMixture, nfe: int) -> LawPoint:
    """How far the samples' mean and covariance are from the law's."""
    mean, covariance = samples.mean(0), torch.cov(samples.T)
    scale = law.covariance.diagonal().sum().sqrt()
    return LawPoint(
        nfe,
        ((mean - law.mean).norm() / scale).item(),
        ((covariance - law.covariance).norm() / law.covariance.norm()).item(),
    )


def typical_law_errors(law: GaussianMixture, n: int, times: int = 20) -> LawPoint:
    """The root mean square errors of n exact draws: what cannot be told from no error."""
    draws = [law_errors(law.sample(n, torch.Generator().manual_seed(100 + i)), law, 0) for i in range(times)]
    errors = torch.tensor([(draw.mean, draw.covariance) for draw in draws])
    return LawPoint(0, *errors.square().mean(0).sqrt().tolist())
