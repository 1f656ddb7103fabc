"""Which draw of the source goes with which data point."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.objectives.transport import entropic_plan, exact_matching, spread, squared_distances
from fmlab.representation import ShownByAttributes


class Coupling(ShownByAttributes, ABC):
    """Pairs the data of a batch with draws of the source; every data point exactly once.

    Where pairs depend on each other, the flow's velocity is learned all the same, and so are E[z | x_t] and
    E[eps | x_t]; but -E[eps | x_t] / beta_t, which a Gaussian path takes for the score, is the score no longer. Follow
    the ODE, or train a score head on an `Interpolant` with sigma > 0.

    Attributes:
        batch_size: How many pairs are matched together, over all processes; None is the training batch's own.
        across_ranks: Whether the batches of all processes are matched together.
    """

    batch_size: int | None = None
    across_ranks: bool = False

    @abstractmethod
    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """The source in the order in which it goes with `data`; both of shape (B, *event).

        Args:
            data: The data.
            source: As many draws of the source.
            condition: The condition of each data point, of shape (B,) or (B, ...), or None.
            generator: Where a random coupling's draws come from.
        """


class Independent(Coupling):
    """Source and data are independent: the pairs as they were drawn."""

    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        return source


class MinibatchOT(Coupling):
    """Optimal transport within a batch: the permutation of the source with the least sum of squared distances.

    OT-CFM (Tong et al. 2024; Pooladian et al. 2023). Paths get straighter, and the loss's floor falls, as `batch_size`
    grows. It takes no notice of conditions, which biases a model that has them: use `ConditionalOT` there.

    A step waits for its matching. Measured on one core: 256 pairs take 5 ms in 2 dimensions and 18 ms in 3072, 1024
    pairs 160 ms and 220 ms.

    Args:
        batch_size: How many pairs are matched together, over all processes if `across_ranks`; at least the training
            batch's own, which it is if left out. What is missing is drawn from the training data.
        across_ranks: Whether the batches of all processes are matched together.
    """

    def __init__(self, batch_size: int | None = None, across_ranks: bool = False) -> None:
        self.batch_size, self.across_ranks = _checked(batch_size), across_ranks

    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        return _take(source, exact_matching(_costs(data, source)))


class SinkhornOT(Coupling):
    """Entropic optimal transport within a batch: each data point's partner is drawn from its row of the plan.

    The plan minimises the mean squared distance plus `regularisation` times the relative entropy to independence. With
    2 sigma^2 it is the Schrödinger bridge's of diffusion sigma, for `SchrodingerBridge(sigma)` ([SF]2M, Tong et al.
    2024, proposition 3.2). Every data point is used once; a draw of the source may be used twice or not at all, each
    as often on average. It takes no notice of conditions: see `MinibatchOT`. Measured as there: 256 pairs take 7 ms
    and 30 ms, 1024 pairs 100 ms and 270 ms.

    Args:
        regularisation: In units of squared distance, positive: towards 0 the exact matching, towards infinity
            independence. Left out, it is 5 % of the standard deviation of -2 <x, z> in the batch, both centred, which
            is all of the squared distance that depends on the pairing.
        iterations: How many steps of Sinkhorn's algorithm there are at most, at least 1.
        tolerance: Which share of the plan's mass may be in a wrong row when it stops, positive.
        batch_size: How many pairs are matched together, over all processes if `across_ranks`; at least the training
            batch's own, which it is if left out. What is missing is drawn from the training data.
        across_ranks: Whether the batches of all processes are matched together.
    """

    RELATIVE_REGULARISATION = 0.05

    def __init__(
        self,
        regularisation: float | None = None,
        iterations: int = 1000,
        tolerance: float = 1e-3,
        batch_size: int | None = None,
        across_ranks: bool = False,
    ) -> None:
        if regularisation is not None and not 0 < regularisation < math.inf:
            raise UserError(
                f"has to be positive and finite, got {regularisation}",
                key="regularisation",
                hint="MinibatchOT is the limit at 0, Independent that at infinity",
            )
        if iterations < 1:
            raise UserError(f"has to be at least 1, got {iterations}", key="iterations")
        if not tolerance > 0:
            raise UserError(f"has to be positive, got {tolerance}", key="tolerance")
        self.regularisation, self.iterations, self.tolerance = regularisation, iterations, tolerance
        self.batch_size, self.across_ranks = _checked(batch_size), across_ranks

    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        cost = _costs(data, source)
        regularisation = self.regularisation or self.RELATIVE_REGULARISATION * spread(cost)
        plan, error = entropic_plan(cost, regularisation, self.iterations, self.tolerance)
        if not error <= self.tolerance:
            warnings.warn(
                f"after {self.iterations} iterations {error:.1g} of the plan's mass is in a wrong row, not "
                f"{self.tolerance:g}: raise coupling.regularisation or coupling.iterations",
                stacklevel=2,
            )
        return _take(source, torch.multinomial(plan.to(generator.device), 1, generator=generator).squeeze(1))


class ConditionalOT(Coupling):
    """Optimal transport that keeps conditions and noise independent: C2OT (Cheng and Schwing 2025).

    Draw i of the source carries the condition of data point i, and a pair costs its squared distance plus
    `condition_weight` times the squared distance of the two conditions (of labels: 1 where they differ; "no label" is
    a label). With an infinite weight only equal conditions exchange their draws, so that under every condition the
    model sees the whole source; without conditions, and with weight 0, this is `MinibatchOT`. With ten labels and an
    infinite weight 256 pairs take 2 ms and 15 ms, 1024 pairs 13 ms and 150 ms.

    Args:
        condition_weight: Not negative. Infinite suits labels; conditions that are all different need a finite one, or
            nothing is exchanged.
        target_ratio: Chooses the weight anew for every matching, in place of `condition_weight`: the largest at which
            this share of all pairs, in (0, 1], cost no more than the data point's own; C2OT has 0.05 for conditions
            that are all different (Cheng and Schwing 2025).
        batch_size: How many pairs are matched together, over all processes if `across_ranks`; at least the training
            batch's own, which it is if left out. What is missing is drawn from the training data.
        across_ranks: Whether the batches of all processes are matched together.
    """

    def __init__(
        self,
        condition_weight: float = math.inf,
        target_ratio: float | None = None,
        batch_size: int | None = None,
        across_ranks: bool = False,
    ) -> None:
        if not condition_weight >= 0:
            raise UserError(f"a weight is not negative, got {condition_weight}", key="condition_weight")
        if target_ratio is not None and not 0 < target_ratio <= 1:
            raise UserError(f"has to be in (0, 1], got {target_ratio}", key="target_ratio")
        if target_ratio is not None and condition_weight < math.inf:
            raise UserError("chooses the weight, which is given too", key="target_ratio", hint="give one of the two")
        self.condition_weight, self.target_ratio = condition_weight, target_ratio
        self.batch_size, self.across_ranks = _checked(batch_size), across_ranks

    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        cost = _costs(data, source)
        if condition is None or self.condition_weight == 0:
            return _take(source, exact_matching(cost))
        if self.condition_weight < math.inf or self.target_ratio is not None:
            between = _condition_distances(condition).to(cost.device)
            weight = (
                self.condition_weight if self.target_ratio is None else ratio_weight(cost, between, self.target_ratio)
            )
            return _take(source, exact_matching(cost + weight * between))
        cost = cost.cpu()
        _, groups, sizes = condition.cpu().unique(dim=0, return_inverse=True, return_counts=True)
        order = torch.empty(len(cost), dtype=torch.int64)
        for rows in groups.argsort(stable=True).split(sizes.tolist()):
            order[rows] = rows[exact_matching(cost[rows][:, rows])]
        return _take(source, order)


def ratio_weight(cost: Tensor, between: Tensor, ratio: float) -> float:
    """The largest weight w >= 0 at which a share `ratio` of all pairs have cost + w between <= their row's diagonal.

    Every pair has a weight up to which it does, so this is a quantile of those weights. A pair whose conditions are
    equal does at any weight, or at none; where those alone are the share, the weight is that of the next pair.

    Args:
        cost: Squared distances of data (rows) and source (columns), (n, n).
        between: Squared distances of their conditions, (n, n), 0 on the diagonal.
        ratio: The share, in (0, 1].
    """
    slack = cost.diagonal()[:, None] - cost
    largest = torch.where(between > 0, slack / between, torch.where(slack >= 0, torch.inf, -torch.inf)).flatten()
    largest = largest[largest.isfinite() | (largest < 0)].clamp_min(0)
    always = cost.numel() - largest.numel()
    needed = max(1, math.ceil(ratio * cost.numel()) - always)
    if largest.numel() == 0:
        return 0.0
    return float(largest.kthvalue(max(1, largest.numel() - needed + 1)).values)


def _costs(data: Tensor, source: Tensor) -> Tensor:
    if data.shape != source.shape:  # choosing among more draws than data would change the law of those chosen
        raise UserError(f"data of shape {tuple(data.shape)} and a source of shape {tuple(source.shape)}", key="source")
    cost = squared_distances(data, source)
    if not bool(torch.isfinite(cost).all()):
        raise UserError("data and source cannot be matched: a distance is not finite", key="coupling")
    return cost


def _condition_distances(condition: Tensor) -> Tensor:
    """Squared distances of vectors; of labels, or vectors of them, 1 where they differ."""
    if condition.is_floating_point():
        return squared_distances(condition, condition)
    labels = condition.reshape(len(condition), -1)
    return (labels[:, None] != labels).any(-1).double()


def _take(source: Tensor, rows: Tensor) -> Tensor:
    return source[rows.to(source.device)]


def _checked(batch_size: int | None) -> int | None:
    if batch_size is not None and batch_size < 1:
        raise UserError(f"has to be at least 1, got {batch_size}", key="batch_size")
    return batch_size
