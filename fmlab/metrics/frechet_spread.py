"""The Fréchet distance with its standard error, from one set of images."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.metrics.frechet import FrechetReference, Statistics
from fmlab.metrics.splits import SPLITS, splits_of, sums_by_split


class FrechetDistanceWithSpread(Metric):
    """Fréchet distance of a set of features from a reference, and how much another such set would differ.

    The standard error is the jackknife's: the set is measured again without each of its splits. The bias of the
    distance with the number of images is the same in all of them and cancels. The states are float64 sums by split.

    Args:
        reference: Mean and covariance of the reference set.
        num_images: Images of the whole set.
        splits: Parts of the set that are left out in turn.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    n: Tensor
    sum: Tensor
    outer: Tensor

    def __init__(self, reference: Statistics, num_images: int, splits: int = SPLITS) -> None:
        super().__init__()
        self.reference = FrechetReference(reference)
        self.splits, self._split_of = splits, splits_of(num_images, splits)
        dimension = len(self.reference.mu)
        self.add_state("n", torch.zeros(splits, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sum", torch.zeros(splits, dimension, dtype=torch.float64), dist_reduce_fx="sum")
        outer = torch.zeros(splits, dimension, dimension, dtype=torch.float64)
        self.add_state("outer", outer, dist_reduce_fx="sum")

    def update(self, features: Tensor, indices: Tensor) -> None:
        """Adds features (B, D) of the images with these places in the set, int64 (B,)."""
        device = self.n.device
        split = self._split_of[indices.cpu()].to(device)
        features = features.to(device, torch.float64)
        # Not in place: a state made under inference_mode could not be changed outside it.
        self.n = self.n + sums_by_split(torch.ones_like(split), split, self.splits)
        self.sum = self.sum + sums_by_split(features, split, self.splits)
        parts = (features[split == part] for part in range(self.splits))
        self.outer = torch.stack([torch.addmm(outer, rows.T, rows) for outer, rows in zip(self.outer, parts)])

    def compute(self) -> dict[str, Tensor]:
        """`fid` and `fid_std`, float64 scalars on the CPU.

        Raises:
            UserError: Without a split there are fewer than two images left.
        """
        whole = (self.n.sum(), self.sum.sum(dim=0), self.outer.sum(dim=0))
        without = torch.stack(
            [
                self.reference.distance(whole[0] - n, whole[1] - total, whole[2] - outer)
                for n, total, outer in zip(self.n, self.sum, self.outer)
            ]
        )
        error = ((self.splits - 1) * without.var(correction=0)).sqrt()
        return {"fid": self.reference.distance(*whole), "fid_std": error}
