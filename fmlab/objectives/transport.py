"""Optimal transport between two sets of equally many points: exact, and with entropy."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

_SMALL = 128  # below this many points, preparing a matching takes longer than finding it
_BLOCK = 5  # steps between two looks at the error; within them a factor grows at most by n^10
_LARGEST = 1e60  # factors beyond it are taken into the potentials


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """|x_i - y_j|^2 in float64, of shape (n, m), for points of any event shape (n, *event) and (m, *event)."""
    flat = [points.detach().reshape(len(points), -1) for points in (first, second)]
    if first.device.type == "mps":  # which has no float64
        flat = [points.cpu() for points in flat]
    return torch.cdist(flat[0].double(), flat[1].double()).square()


def spread(cost: Tensor) -> float:
    """How much a matching can matter: the standard deviation of the costs less the means of their row and column.

    Every matching pays those means alike. Of squared distances it is the standard deviation of -2 <x_i, y_j>, x and y
    centred. Where all costs are 0 no matching is better than another, and it is 1.
    """
    rest = (cost - cost.mean(0)).sub_(cost.mean(1, keepdim=True)).add_(cost.mean())
    largest = torch.maximum(rest.square_().mean().sqrt(), 1e-9 * cost.abs().amax())
    return float(largest) if largest > torch.finfo(cost.dtype).tiny else 1.0


def exact_matching(cost: Tensor) -> Tensor:
    """The permutation p that minimises the sum of cost[i, p(i)], of shape (n,), on the CPU."""
    if len(cost) > _SMALL:
        # Taking a number off a row or a column changes no optimum. With the potentials of a neighbouring problem taken
        # off, most rows find their column at once: two to five times as fast at 1024 points.
        first, second = _annealed(cost.float(), 0.1)
        cost = cost - first[:, None] - second
    _, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.from_numpy(columns)


def entropic_plan(cost: Tensor, regularisation: float, iterations: int, tolerance: float) -> tuple[Tensor, float]:
    """The plan P that minimises <P, cost> + regularisation x KL(P | independent), by Sinkhorn's algorithm.

    Potentials are kept in the log domain (Peyré and Cuturi 2019, section 4.4); between them, steps are taken on scaling
    factors, which are a matrix times a vector each (Schmitzer 2019, algorithm 2). The first steps are one at each
    regularisation from the cost's spread down, by halves. Below 1e-12 of the largest cost, where a float64
    tells little apart, a regularisation is taken for that.

    Args:
        cost: Of shape (n, n), float64.
        regularisation: In units of the cost, positive.
        iterations: How many steps there are at most, each on rows and columns.
        tolerance: When to stop: how much of the mass may be in a wrong row.

    Returns:
        The plan times n, so that each column sums to 1 and each row nearly, and how much of the mass is in a wrong row.
    """
    regularisation = max(regularisation, 1e-12 * float(cost.abs().amax()))
    potentials, current, done = cost.amin(0), max(spread(cost), regularisation), 0
    while True:
        kernel = _kernel(cost, potentials, current)
        columns, largest = 1 / ((1 / kernel.sum(1)) @ kernel), 1.0
        while current == regularisation and largest < _LARGEST:
            for _ in range(_BLOCK):
                rows = 1 / (kernel @ columns)
                columns = 1 / (rows @ kernel)
            done += _BLOCK
            error = float((rows * (kernel @ columns) - 1).abs().mean() / 2)
            if error <= tolerance or done >= iterations:
                return kernel.mul_(rows[:, None]).mul_(columns), error
            largest = float(torch.maximum(columns.amax(), 1 / columns.amin()))
        potentials = potentials + current * columns.log()
        current = max(current / 2, regularisation)


def _kernel(cost: Tensor, columns: Tensor, regularisation: float) -> Tensor:
    """exp((rows + columns - cost) / regularisation), with the potentials of rows that make 1 each row's largest entry.

    No column is all 0 where one summed to 1 at these potentials before, at a regularisation at most twice as large:
    here its entries are at least the squares of those.
    """
    kernel = columns - cost
    return kernel.sub_(kernel.amax(1, keepdim=True)).div_(regularisation).exp_()


def _annealed(cost: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Potentials after a step at each regularisation from the cost's spread down to `share` of it."""
    regularisation = spread(cost)
    target = share * regularisation
    rows, columns = _step(cost, torch.zeros_like(cost[0]), max(regularisation, target))
    while regularisation > target:
        regularisation = max(regularisation / 2, target)
        rows, columns = _step(cost, columns, regularisation)
    return rows, columns


def _step(cost: Tensor, columns: Tensor, regularisation: float) -> tuple[Tensor, Tensor]:
    """One step of Sinkhorn's algorithm on the potentials: first every row sums to 1, then every column."""
    rows = -regularisation * torch.logsumexp((columns - cost) / regularisation, 1)
    return rows, -regularisation * torch.logsumexp((rows[:, None] - cost) / regularisation, 0)
