"""Fields of known solution, and what a solve makes of them; shared by the tests of solvers."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor

import fmlab.solvers
from fmlab.distributions import Gaussian, GaussianMixture
from fmlab.fields import ExactField
from fmlab.paths import GaussianPath
from fmlab.solvers import Solver
from fmlab.solvers.dopri5 import DORMAND_PRINCE
from fmlab.solvers.runge_kutta import RungeKutta


class DormandPrince(RungeKutta):
    """Dopri5's tableau with steps of fixed length."""

    order = 5.0
    tableau = DORMAND_PRINCE


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def three_modes(path: GaussianPath) -> ExactField:
    """The field of three Gaussians in the plane."""
    covariances = torch.eye(2, dtype=torch.float64) * double([0.3, 0.2, 0.4])[:, None, None]
    means = double([[2.0, 0.0], [-1.0, 1.5], [0.0, -2.0]])
    return ExactField(GaussianMixture(double([0.3, 0.5, 0.2]), means, covariances), path)


def noise(n: int = 64) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@cache
def solution(path: type[GaussianPath], first: float, last: float) -> tuple[Tensor, Tensor]:
    """Where 16 solutions through the three modes are at two times."""
    field, x = three_modes(path()), noise(16)
    if first > 0:
        x = DormandPrince().solve(field, x, torch.linspace(0, first, 20, dtype=torch.float64))
    return x, DormandPrince().solve(field, x, torch.linspace(first, last, 120, dtype=torch.float64))


def normal(mean: float, std: float) -> Gaussian:
    return Gaussian(double([mean]), double([[std**2]]))


def affine(
    solver: Solver, field: Any, times: Tensor, mean: float, std: float, draws: int = 1
) -> tuple[float, float, float]:
    """Mean and variance at the end of a solve from N(mean, std^2), and the slope from start to end.

    For an affine field the end is affine in the start and in every increment, so a batch with one increment switched on
    a row gives them exactly, without drawing anything. `draws` is how many increments a step has.
    """
    impulses = responses(solver, field, times, mean, draws)
    slope = impulses[0]
    end = solver.solve(field, torch.full((1, 1), mean, dtype=torch.float64), times, noise=lambda step, like: 0 * like)
    return end.item(), ((slope * std) ** 2 + impulses[1:].square().sum()).item(), slope.item()


def responses(solver: Solver, field: Any, times: Tensor, mean: float, draws: int = 1) -> Tensor:
    """The change of the end with the start, and with each increment, of shape (1 + steps * draws,)."""
    x = torch.full((2 + (len(times) - 1) * draws, 1), mean, dtype=torch.float64)
    x[1] += 1

    def only_one(step: int, like: Tensor) -> Tensor:
        only = torch.zeros(like.shape, dtype=like.dtype)
        for draw in range(1 if like.ndim == x.ndim else like.shape[1]):
            only[2 + step * draws + draw].view(-1)[draw] = 1
        return only

    end = solver.solve(field, x, times, noise=only_one).flatten()
    return end[1:] - end[0]


def exported_solvers() -> list[Solver]:
    """Every solver of the package, as its defaults make it."""
    exports = [getattr(fmlab.solvers, name) for name in fmlab.solvers.__all__]
    classes = [each for each in exports if inspect.isclass(each) and issubclass(each, Solver)]
    return [each() for each in classes if not inspect.isabstract(each)]
