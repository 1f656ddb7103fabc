"""The Fréchet distance between two sets of features seen as Gaussians (Heusel et al., 2017)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.errors import UserError


class Statistics(Protocol):
    """What is known of a reference set: its mean (D,), unbiased covariance (D, D) and number of images."""

    @property
    def mu(self) -> Tensor: ...
    @property
    def sigma(self) -> Tensor: ...
    @property
    def n(self) -> int: ...


def symmetric_root(sigma: Tensor) -> Tensor:
    """The symmetric square root (D, D) of a covariance, singular ones included; rounding below zero counts as zero."""
    values, vectors = torch.linalg.eigh(sigma.double())
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def frechet_distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor, root2: Tensor | None = None) -> Tensor:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S2^(1/2) S1 S2^(1/2))^(1/2)), the squared 2-Wasserstein distance of Gaussians.

    The matrix under the root is symmetric, so its eigenvalues are real and no complex part needs to be dropped.

    Args:
        mu1: Mean (D,).
        sigma1: Covariance (D, D), which may be singular.
        mu2: Mean (D,).
        sigma2: Covariance (D, D), which may be singular.
        root2: The symmetric square root of `sigma2`, where it is known already.

    Returns:
        The distance, a float64 scalar; nan where a statistic is not finite.
    """
    mu1, sigma1, mu2, sigma2 = mu1.double(), sigma1.double(), mu2.double(), sigma2.double()
    if not all(bool(part.isfinite().all()) for part in (mu1, sigma1, mu2, sigma2)):
        return mu1.new_full((), float("nan"))
    root = symmetric_root(sigma2) if root2 is None else root2
    product = root @ sigma1 @ root
    values = torch.linalg.eigvalsh((product + product.T) / 2)
    overlap = values.clamp(min=0).sqrt().sum()
    return (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * overlap


class FrechetDistance(Metric):
    """Fréchet distance of the features it is given from a reference.

    The states are sums in float64, so ranks merge exactly and neither batch size nor order matters.
    On a device without float64 (Apple's) leave the metric on the CPU: `update` brings the features to it.

    Args:
        reference: Mean, covariance and size of the reference set.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    n: Tensor
    sum: Tensor
    outer: Tensor
    mu: Tensor
    sigma: Tensor

    def __init__(self, reference: Statistics) -> None:
        super().__init__()
        self.register_buffer("mu", torch.as_tensor(reference.mu, dtype=torch.float64), persistent=False)
        self.register_buffer("sigma", torch.as_tensor(reference.sigma, dtype=torch.float64), persistent=False)
        self._root: Tensor | None = None
        dimension = len(self.mu)
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
        mu, sigma = moments(self.n, self.sum, self.outer)
        if self._root is None and bool(self.sigma.isfinite().all()):
            self._root = symmetric_root(self.sigma.cpu())
        return frechet_distance(mu.cpu(), sigma.cpu(), self.mu.cpu(), self.sigma.cpu(), self._root)


def moments(n: Tensor | int, total: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) from the number, the sum and the sum of outer products.

    Raises:
        UserError: `n` is below two.
    """
    if int(n) < 2:
        raise UserError(f"a Fréchet distance needs at least 2 images, not {int(n)}")
    mu = total / n
    return mu, (outer - n * torch.outer(mu, mu)) / (n - 1)
