"""The kernel distance (KID) between sets of features (Binkowski et al., "Demystifying MMD GANs", 2018).

They average over random subsets; the value here uses the whole sets: the same expectation with less variance, and
nothing that depends on order or on a draw. The subsets give the spread.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fmlab.metrics.discrepancy import SampleDiscrepancy, mean_between, mean_within
from fmlab.metrics.kept_rows import KeptRows
from fmlab.metrics.splits import SEED

SUBSETS = 100
SUBSET_SIZE = 1000


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x.y / D + 1)^3 for all pairs: (N, D), (M, D) -> (N, M)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


class KernelDistance(SampleDiscrepancy):
    """Kernel distance (KID) of the features it is given from reference features, by the kernel (x.y / D + 1)^3.

    Args:
        reference: Reference features (M, D).
    """

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel values (N, M) of all pairs of float64 rows (N, D) and (M, D)."""
        return polynomial_kernel(x, y)


def kernel_distance(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate from two sets of features (N, D) and (M, D), a float64 scalar."""
    between = mean_between(x, y, polynomial_kernel)
    return mean_within(x, polynomial_kernel) + mean_within(y, polynomial_kernel) - 2 * between


def subset_size(num_images: int, reference: int) -> int:
    """Rows of a subset: 1,000 where both sets have them, else half of the smaller set."""
    smaller = min(num_images, reference)
    return SUBSET_SIZE if smaller >= SUBSET_SIZE else smaller // 2


def subset_estimates(x: Tensor, y: Tensor, size: int, subsets: int = SUBSETS) -> Tensor:
    """The estimates (subsets,), float64, from random subsets of both sets, drawn as torch-fidelity draws them."""
    draws = np.random.RandomState(SEED)
    estimates = []
    for _ in range(subsets):
        of_x, of_y = (draws.choice(len(rows), size, replace=False) for rows in (x, y))
        chosen = (rows[torch.from_numpy(which).to(rows.device)] for rows, which in ((x, of_x), (y, of_y)))
        estimates.append(kernel_distance(*chosen))
    return torch.stack(estimates)


class KernelDistanceWithSpread(KeptRows):
    """Kernel distance (KID) of features from reference features, with its spread over 100 subsets of 1,000.

    Args:
        reference: Reference features (M, D).
        num_images: Images of the whole set.
    """

    higher_is_better = False

    def compute(self) -> dict[str, Tensor]:
        """`kid` of all pairs; the mean over the subsets, `kid_subsets`, and the standard deviation, `kid_std`."""
        rows = self.ordered()
        estimates = subset_estimates(rows, self.reference, subset_size(len(rows), len(self.reference)))
        spread = estimates.std(correction=0)
        return {"kid": kernel_distance(rows, self.reference), "kid_subsets": estimates.mean(), "kid_std": spread}
