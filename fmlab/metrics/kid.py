"""The kernel distance (KID) between sets of features (Binkowski et al., "Demystifying MMD GANs", 2018).

They average over random subsets; here the whole sets are used: the same expectation with less variance, and nothing
that depends on order or on a draw.
"""

from __future__ import annotations

from torch import Tensor

from fmlab.metrics.discrepancy import SampleDiscrepancy


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
