"""The Fréchet distance between two Gaussians, by their means and covariances."""

from __future__ import annotations

import torch
from scipy.linalg.blas import dtrmm
from torch import Tensor

from fmlab.errors import UserError


def covariance_factor(sigma: Tensor) -> Tensor:
    """A factor L (D, R), float64, with L L^T = sigma, where R is the rank.

    It is Cholesky's where the rank is full; of fewer images than dimensions it has a column for each eigenvalue that is
    not zero up to rounding.
    """
    sigma = sigma.double()
    smallest = len(sigma) * torch.finfo(torch.float64).eps
    factor, failed = torch.linalg.cholesky_ex(sigma)
    if not bool(failed) and bool(factor.diagonal().square().min() > smallest * sigma.diagonal().max()):
        return factor
    values, vectors = torch.linalg.eigh(sigma)
    nonzero = values > smallest * values[-1]
    return vectors[:, nonzero] * values[nonzero].sqrt()


def congruent(factor: Tensor, sigma: Tensor) -> Tensor:
    """L^T S L (R, R) for a factor L (D, R) and a symmetric S (D, D), float64 on the CPU.

    A triangular factor is multiplied as such, which takes half the time.
    """
    if factor.shape[0] != factor.shape[1] or bool(factor.triu(1).any()):
        return factor.T @ sigma @ factor
    # The transposed views have the order of memory that BLAS works in, so nothing is copied.
    upper = factor.contiguous().numpy().T
    half = dtrmm(1.0, upper, sigma.contiguous().numpy().T)
    return torch.from_numpy(dtrmm(1.0, upper, half, side=1, trans_a=1, overwrite_b=1).T)


def frechet_distance(
    mu1: Tensor,
    sigma1: Tensor,
    mu2: Tensor,
    sigma2: Tensor,
    factor2: Tensor | None = None,
    rank1: int | None = None,
) -> Tensor:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the squared 2-Wasserstein distance of Gaussians.

    With S2 = L L^T the eigenvalues of S1 S2 are those of the symmetric L^T S1 L, and zeros. So they are real, and cost
    a small part of the time that the general eigenvalue problem takes.

    Args:
        mu1: Mean (D,).
        sigma1: Covariance (D, D), which may be singular.
        mu2: Mean (D,).
        sigma2: Covariance (D, D), which may be singular.
        factor2: The `covariance_factor` of `sigma2`, where it is known already.
        rank1: The most that the rank of `sigma1` can be, one less than its number of images: further eigenvalues are
            zeros, and what rounding leaves of them is not counted.

    Returns:
        The distance, a float64 scalar; nan where a statistic is not finite.
    """
    mu1, sigma1, mu2, sigma2 = mu1.double(), sigma1.double(), mu2.double(), sigma2.double()
    if not all(bool(part.sum().isfinite()) for part in (mu1, sigma1, mu2, sigma2)):
        return mu1.new_full((), float("nan"))
    factor = covariance_factor(sigma2) if factor2 is None else factor2
    values = torch.linalg.eigvalsh(congruent(factor, sigma1))
    rank = len(values) if rank1 is None else min(rank1, len(values))
    overlap = values[len(values) - rank :].clamp(min=0).sqrt().sum()
    return (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * overlap


def moments(n: Tensor | int, total: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) from the number, the sum and the sum of outer products.

    Raises:
        UserError: `n` is below two.
    """
    if int(n) < 2:
        raise UserError(f"a Fréchet distance needs at least 2 images, not {int(n)}")
    mu = total / n
    return mu, (outer - n * torch.outer(mu, mu)) / (n - 1)
