"""The Inception Score (Salimans et al., "Improved techniques for training GANs", 2016) of any classifier."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.metrics.splits import SPLITS, splits_of, sums_by_split


class InceptionScore(Metric):
    """exp E KL(p(y|x) || p(y)) of classifications: the mean over splits of the set, and the standard deviation.

    Sharp classes for each image and all classes among the images score high, at most the number of classes. The states
    are sums by split in float64, so ranks merge exactly and memory does not grow with the images.

    Args:
        num_classes: Classes of the classifier.
        num_images: Images of the whole set.
        splits: Parts of the set that are scored each by itself.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    n: Tensor
    probabilities: Tensor
    negentropies: Tensor

    def __init__(self, num_classes: int, num_images: int, splits: int = SPLITS) -> None:
        super().__init__()
        self.splits, self._split_of = splits, splits_of(num_images, splits)
        self.add_state("n", torch.zeros(splits, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("probabilities", torch.zeros(splits, num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("negentropies", torch.zeros(splits, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, indices: Tensor) -> None:
        """Adds class logits (B, num_classes) of the images with these places in the set, int64 (B,)."""
        device = self.n.device
        split = self._split_of[indices.cpu()].to(device)
        log_p = logits.to(device, torch.float64).log_softmax(dim=1)
        p = log_p.exp()
        negentropy = torch.where(p > 0, p * log_p, 0 * p).sum(dim=1)  # nan stays nan
        # Not in place: a state made under inference_mode could not be changed outside it.
        self.n = self.n + sums_by_split(torch.ones_like(split), split, self.splits)
        self.probabilities = self.probabilities + sums_by_split(p, split, self.splits)
        self.negentropies = self.negentropies + sums_by_split(negentropy, split, self.splits)

    def compute(self) -> dict[str, Tensor]:
        """`is` and `is_std`, float64 scalars."""
        marginal = self.probabilities / self.n[:, None]
        divergences = self.negentropies / self.n - torch.special.xlogy(marginal, marginal).sum(dim=1)
        scores = divergences.exp()
        return {"is": scores.mean(), "is_std": scores.std(correction=0)}
