"""Discrepancies by a kernel: KID between sets of features, and MMD between sets of points.

Both are the unbiased squared maximum mean discrepancy (Gretton et al., 2012). KID (Binkowski et al., "Demystifying MMD
GANs", 2018) averages it over random subsets. The value here uses the whole sets: the same expectation with less
variance, and nothing that depends on order or on a draw. The subsets give the spread.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fmlab.metrics.metric import FeatureRows
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Facts
from fmlab.metrics.subset import SEED, keyed_rows

SUBSETS = 100
SUBSET_SIZE = 1000
_MEDIAN_ROWS = 2000

Kernel = Callable[[Tensor, Tensor], Tensor]


def mean_between(x: Tensor, y: Tensor, kernel: Kernel, at_once: int = 1024) -> Tensor:
    """Mean kernel over all pairs of a row of x with a row of y, a float64 scalar, so many rows of x at a time."""
    x, y = x.double(), y.double()
    return torch.stack([kernel(part, y).sum() for part in x.split(at_once)]).sum() / (len(x) * len(y))


def mean_within(x: Tensor, kernel: Kernel, at_once: int = 1024) -> Tensor:
    """Mean kernel over all pairs of two different rows of x, a float64 scalar."""
    x = x.double()
    sums = []
    for start in range(0, len(x), at_once):
        values = kernel(x[start : start + at_once], x)
        sums.append(values.sum() - values.diagonal(offset=start).sum())
    return torch.stack(sums).sum() / (len(x) * (len(x) - 1))


def discrepancy(x: Tensor, y: Tensor, kernel: Kernel, within_y: Tensor | None = None) -> Tensor:
    """The unbiased estimate from two sets of rows (N, D) and (M, D), a float64 scalar; below zero by chance too.

    Every pair counts once, so neither order nor batches matter.

    Args:
        x: The one set.
        y: The other.
        kernel: Kernel values (N, M) of all pairs of float64 rows (N, D) and (M, D).
        within_y: The `mean_within` of y, where it is known already.
    """
    within_y = mean_within(y, kernel) if within_y is None else within_y
    between = mean_between(x, y, kernel)
    return mean_within(x, kernel) + within_y.to(between.device) - 2 * between


class KernelMetric(FeatureRows):
    """The discrepancy of the rows it is given from a reference, by the kernel of a subclass."""

    _within: Tensor | None = None

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel values (N, M) of all pairs of float64 rows (N, D) and (M, D)."""
        raise NotImplementedError

    def discrepancy(self, rows: Tensor) -> Tensor:
        """The estimate for rows (N, D), a float64 scalar; what the reference alone decides is computed once."""
        if self._within is None:
            self._within = mean_within(self.reference, self.kernel)
        return discrepancy(rows, self.reference, self.kernel, self._within)


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x.y / D + 1)^3 for all pairs: (N, D), (M, D) -> (N, M)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def subset_estimates(x: Tensor, y: Tensor) -> Tensor:
    """The estimates (100,), float64, from random subsets of both sets, drawn as torch-fidelity draws them.

    A subset has 1,000 rows where both sets have them, else half of the smaller set.
    """
    smaller, draws = min(len(x), len(y)), np.random.RandomState(SEED)
    size = SUBSET_SIZE if smaller >= SUBSET_SIZE else smaller // 2
    estimates = []
    for _ in range(SUBSETS):
        of_x, of_y = (draws.choice(len(rows), size, replace=False) for rows in (x, y))
        part_x, part_y = (rows[torch.from_numpy(which).to(rows.device)] for rows, which in ((x, of_x), (y, of_y)))
        estimates.append(discrepancy(part_x, part_y, polynomial_kernel))
    return torch.stack(estimates)


class KernelDistance(KernelMetric):
    """Kernel distance (KID) of features from reference features, by the kernel (x.y / D + 1)^3.

    With `num_samples` its spread is that over 100 subsets of 1,000.

    Args:
        reference: Reference features (M, D).
        num_samples: Images of the whole set; None measures the distance alone, by all of them.
    """

    facts = Facts(
        name="kid",
        title="the kernel distance",
        kind="images",
        inputs=("features", "places"),
        outputs=("kid",),
        better="less",
        least=4,
        estimator="unbiased, (x.y / D + 1)^3, all pairs of at most 10,000 images of each set, v1",
        spread="no standard error: the standard deviation over 100 subsets of 1,000, whose mean is kid_subsets",
        spread_outputs=("kid_subsets",),
        usual=True,
    )

    kernel = staticmethod(polynomial_kernel)

    @classmethod
    def build(cls, parts: MetricParts) -> KernelDistance:
        """The distance from the reference's features."""
        return cls(parts.reference_features(cls.facts), parts.set_size)

    def compute(self) -> dict[str, Tensor]:
        """`kid` of all pairs; with a spread also `kid_subsets`, the mean of those, and `kid_std`; float64 scalars."""
        rows = self.gathered()
        values = {"kid": self.discrepancy(rows)}
        if self._chosen is None:
            return values
        estimates = subset_estimates(rows, self.reference)
        return {**values, "kid_subsets": estimates.mean(), "kid_std": estimates.std(correction=0)}


class MaximumMeanDiscrepancy(KernelMetric):
    """Unbiased squared discrepancy of the points it is given, by the kernel exp(-|x - y|^2 / (2 h^2)).

    The bandwidth h is the median distance between reference points, of a fixed choice of at most 2,000 of them.

    Args:
        reference: Reference points (M, D).
    """

    facts = Facts(
        name="mmd",
        title="the maximum mean discrepancy",
        kind="points",
        inputs=("samples",),
        outputs=("mmd",),
        better="less",
        least=2,
        estimator="Gaussian kernel, median bandwidth, all pairs, unbiased, v1",
        usual=True,
    )

    bandwidth: Tensor

    def __init__(self, reference: Tensor) -> None:
        super().__init__(reference)
        chosen = self.reference[keyed_rows(len(reference), _MEDIAN_ROWS).to(reference.device)].double()
        self.register_buffer("bandwidth", torch.pdist(chosen).median(), persistent=False)

    @classmethod
    def build(cls, parts: MetricParts) -> MaximumMeanDiscrepancy:
        """The discrepancy from the reference's points."""
        return cls(parts.points)

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel values (N, M) of all pairs of float64 points (N, D) and (M, D)."""
        return (-torch.cdist(x, y).square() / (2 * self.bandwidth**2)).exp()

    def compute(self) -> dict[str, Tensor]:
        """`mmd`, a float64 scalar."""
        return {"mmd": self.discrepancy(self.gathered())}
