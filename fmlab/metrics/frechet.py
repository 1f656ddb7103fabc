"""The Fréchet distance between two sets of features seen as Gaussians (Heusel et al., 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fmlab.metrics.gaussian_distance import covariance_factor, frechet_distance, moments
from fmlab.metrics.metric import SampleMetric
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Facts
from fmlab.metrics.subset import SPLITS, splits_of, sums_by_split


class FrechetDistance(SampleMetric):
    """Fréchet distance of a set of features from a reference, and with `num_samples` how far it would be another.

    The standard error is the jackknife's: the set is measured again without each of its splits. The bias of the
    distance with the number of images is the same in all of them and cancels.

    The states are sums in float64 by split, so ranks merge exactly and neither batch size nor order matters. On a
    device without float64 (Apple's) leave the metric on the CPU: `update` brings the features to it.

    Args:
        reference: What has the reference's mean `mu` (D,), its unbiased covariance `sigma` (D, D), and perhaps a
            `factor` of it, such as `ReferenceStatistics`.
        num_samples: Images of the whole set, which decides the splits; None measures the distance alone.
        splits: Parts of the set that are left out in turn.
    """

    facts = Facts(
        name="fid",
        title="the Fréchet distance",
        kind="images",
        inputs=("features", "places"),
        outputs=("fid",),
        better="less",
        least=20,
        estimator="unbiased covariances, float64 sums, symmetric eigenvalues, v1",
        spread="standard error by leaving out each of 10 splits, up to sqrt(2) too large where sets are alike",
        usual=True,
    )

    n: Tensor
    sum: Tensor
    outer: Tensor

    def __init__(self, reference: Any, num_samples: int | None = None, splits: int = SPLITS) -> None:
        super().__init__()
        # Plain attributes, not buffers: they stay on the CPU, whatever device the sums are on.
        self.mu, self.sigma = (each.to("cpu", torch.float64) for each in (reference.mu, reference.sigma))
        factor: Tensor | None = getattr(reference, "factor", None)
        if factor is None and bool(self.sigma.sum().isfinite()):
            factor = covariance_factor(self.sigma)
        self.factor = None if factor is None else factor.to("cpu", torch.float64)
        self._split_of = None if num_samples is None else splits_of(num_samples, splits)
        self.splits = 1 if num_samples is None else splits
        dimension = len(self.mu)
        self.add_state("n", torch.zeros(self.splits, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sum", torch.zeros(self.splits, dimension, dtype=torch.float64), dist_reduce_fx="sum")
        outer = torch.zeros(self.splits, dimension, dimension, dtype=torch.float64)
        self.add_state("outer", outer, dist_reduce_fx="sum")

    @classmethod
    def build(cls, parts: MetricParts) -> FrechetDistance:
        """The distance from the reference's statistics."""
        return cls(parts.statistics, parts.set_size)

    def update(self, features: Tensor, places: Tensor | None = None) -> None:
        """Adds features (B, D), with the places of their images in the set, int64 (B,), which a spread needs."""
        features = features.to(self.sum.device, torch.float64)
        # Not in place: a state made under inference_mode could not be changed outside it.
        if self._split_of is None:
            self.n = self.n + len(features)
            self.sum = self.sum + features.sum(dim=0)
            self.outer = self.outer + features.T @ features
            return
        assert places is not None
        split = self._split_of[places.cpu()].to(features.device)
        self.n = self.n + sums_by_split(torch.ones_like(split), split, self.splits)
        self.sum = self.sum + sums_by_split(features, split, self.splits)
        parts = (features[split == part] for part in range(self.splits))
        self.outer = torch.stack([torch.addmm(outer, rows.T, rows) for outer, rows in zip(self.outer, parts)])

    def compute(self) -> dict[str, Tensor]:
        """`fid` and with a spread `fid_std`, float64 scalars on the CPU.

        Raises:
            UserError: There are fewer than two images, which have no covariance, or without one of the splits.
        """
        n, total, outer = self.n.sum(), self.sum.sum(dim=0), self.outer.sum(dim=0)
        distance = self._distance(n, total, outer)
        if self._split_of is None:
            return {"fid": distance}
        splits = zip(self.n, self.sum, self.outer)
        without = torch.stack([self._distance(n - part[0], total - part[1], outer - part[2]) for part in splits])
        return {"fid": distance, "fid_std": ((self.splits - 1) * without.var(correction=0)).sqrt()}

    def _distance(self, n: Tensor, total: Tensor, outer: Tensor) -> Tensor:
        """The distance of a set known by its number, its sum (D,) and its sum of outer products (D, D)."""
        mu, sigma = moments(n, total, outer)
        return frechet_distance(mu.cpu(), sigma.cpu(), self.mu, self.sigma, self.factor, int(n) - 1)

    def remarks(self, parts: MetricParts) -> list[str]:
        """That a covariance is singular, where it is."""
        dimension = len(self.mu)
        sets = {"generated": parts.num_samples, "reference": parts.statistics.n}
        return [
            f"fid: {n:,} {which} images have a singular covariance in {dimension:,} dimensions; the distance between "
            "the two covariances is exact, and far from the one that many images would give"
            for which, n in sets.items()
            if n is not None and n <= dimension
        ]
