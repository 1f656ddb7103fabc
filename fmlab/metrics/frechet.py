"""The Fréchet distance between two sets of features seen as Gaussians (Heusel et al., 2017)."""

from __future__ import annotations

from typing import Protocol

import torch
from scipy.linalg.blas import dtrmm
from torch import Tensor
from torchmetrics import Metric

from fmlab.errors import UserError


class Statistics(Protocol):
    """What is known of a reference set: mean (D,), unbiased covariance (D, D), and its `factor` where there is one."""

    @property
    def mu(self) -> Tensor: ...
    @property
    def sigma(self) -> Tensor: ...


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
    kept = values > smallest * values[-1]
    return vectors[:, kept] * values[kept].sqrt()


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


class FrechetDistance(Metric):
    """Fréchet distance of the features it is given from a reference.

    The states are sums in float64, so ranks merge exactly and neither batch size nor order matters.
    On a device without float64 (Apple's) leave the metric on the CPU: `update` brings the features to it.

    Args:
        reference: Mean and covariance of the reference set.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    n: Tensor
    sum: Tensor
    outer: Tensor

    def __init__(self, reference: Statistics) -> None:
        super().__init__()
        self.reference = FrechetReference(reference)
        dimension = len(self.reference.mu)
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sum", torch.zeros(dimension, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(dimension, dimension, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Adds features (B, D)."""
        features = features.to(self.sum.device, torch.float64)
        # Not in place: a state made under inference_mode could not be changed outside it.
        self.n = self.n + len(features)
        self.sum = self.sum + features.sum(dim=0)
        self.outer = self.outer + features.T @ features

    def compute(self) -> Tensor:
        """The distance, a float64 scalar on the CPU.

        Raises:
            UserError: Fewer than two images were given, which have no covariance.
        """
        return self.reference.distance(self.n, self.sum, self.outer)


class FrechetReference:
    """The reference of a Fréchet distance, on the CPU in float64; its covariance is factored when first needed.

    Args:
        known: Mean, covariance and perhaps its factor.
    """

    def __init__(self, known: Statistics) -> None:
        self.mu = torch.as_tensor(known.mu, dtype=torch.float64, device="cpu")
        self.sigma = torch.as_tensor(known.sigma, dtype=torch.float64, device="cpu")
        factor: Tensor | None = getattr(known, "factor", None)
        self._factor = None if factor is None else factor.to("cpu", torch.float64)

    def distance(self, n: Tensor, total: Tensor, outer: Tensor) -> Tensor:
        """The distance of a set known by its number, its sum (D,) and its sum of outer products (D, D)."""
        mu, sigma = moments(n, total, outer)
        if self._factor is None and bool(self.sigma.sum().isfinite()):
            self._factor = covariance_factor(self.sigma)
        return frechet_distance(mu.cpu(), sigma.cpu(), self.mu, self.sigma, self._factor, int(n) - 1)


def moments(n: Tensor | int, total: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) from the number, the sum and the sum of outer products.

    Raises:
        UserError: `n` is below two.
    """
    if int(n) < 2:
        raise UserError(f"a Fréchet distance needs at least 2 images, not {int(n)}")
    mu = total / n
    return mu, (outer - n * torch.outer(mu, mu)) / (n - 1)
