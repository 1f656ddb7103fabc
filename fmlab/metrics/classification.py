"""What a classifier says of generated images: the Inception Score, and the share it takes for their own class."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.metric import SampleMetric
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Facts
from fmlab.metrics.subset import SPLITS, splits_of, sums_by_split


class InceptionScore(SampleMetric):
    """exp E KL(p(y|x) || p(y)) of classifications (Salimans et al., "Improved techniques for training GANs", 2016).

    The value is the mean over splits of the set, its spread their standard deviation. Sharp classes for each image and
    all classes among the images score high, at most the number of classes. The states are sums by split in float64, so
    ranks merge exactly and memory does not grow with the images.

    Args:
        num_classes: Classes of the classifier.
        num_samples: Images of the whole set.
        splits: Parts of the set that are scored each by itself.
    """

    facts = Facts(
        name="is",
        title="the Inception Score",
        kind="images",
        inputs=("logits", "places"),
        outputs=("is",),
        better="more",
        least=20,
        estimator="by the class logits of the features' own network, mean over 10 splits, v1",
        spread="no standard error: the standard deviation over the 10 splits",
    )

    n: Tensor
    probabilities: Tensor
    negentropies: Tensor

    def __init__(self, num_classes: int, num_samples: int, splits: int = SPLITS) -> None:
        super().__init__()
        self.splits, self._split_of = splits, splits_of(num_samples, splits)
        self.add_state("n", torch.zeros(splits, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("probabilities", torch.zeros(splits, num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("negentropies", torch.zeros(splits, dtype=torch.float64), dist_reduce_fx="sum")

    @classmethod
    def build(cls, parts: MetricParts) -> InceptionScore:
        """The score by the feature network, which has to be a classifier."""
        network = parts.network
        network.logits_of(torch.zeros(1, network.dimension, device=network.device))  # refuses what is no classifier
        return cls(int(network.num_classes or 0), parts.num_samples)

    def update(self, logits: Tensor, places: Tensor) -> None:
        """Adds class logits (B, num_classes) of the images with these places in the set, int64 (B,)."""
        device = self.n.device
        split = self._split_of[places.cpu()].to(device)
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


class ClassAccuracy(SampleMetric):
    """The share of images whose highest logit is that of their label, with the standard error of that share.

    Args:
        num_classes: Classes of the classifier; labels are below it.
        weights_hash: SHA-256 of the classifier's weights, for the measurement.
    """

    facts = Facts(
        name="accuracy",
        title="the class accuracy",
        kind="images",
        inputs=("class_logits", "labels"),
        outputs=("accuracy",),
        better="more",
        least=2,
        estimator="share of images in which the domain classifier sees their label, v1",
        spread="standard error of the share",
    )

    n: Tensor
    right: Tensor

    def __init__(self, num_classes: int, weights_hash: str = "") -> None:
        super().__init__()
        self.num_classes, self.weights_hash = num_classes, weights_hash
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @classmethod
    def build(cls, parts: MetricParts) -> ClassAccuracy:
        """The accuracy by the classifier of the data's classes."""
        return cls(int(parts.classifier.num_classes or 0), parts.classifier.weights_hash)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds class logits (B, num_classes) of images made for the labels, int64 (B,).

        Raises:
            UserError: A label is not one of the classifier's.
        """
        labels = labels.to(self.n.device)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise UserError(
                f"the classifier knows the labels 0 to {self.num_classes - 1}, not {int(labels.min())} to "
                f"{int(labels.max())}",
                key="labels",
            )
        self.n = self.n + len(labels)
        self.right = self.right + (logits.to(self.n.device).argmax(dim=1) == labels).sum()

    def compute(self) -> dict[str, Tensor]:
        """`accuracy` and `accuracy_std`, float64 scalars."""
        share = self.right.double() / self.n
        return {"accuracy": share, "accuracy_std": (share * (1 - share) / self.n).sqrt()}

    def estimator(self) -> str:
        """How it is computed: the weights of the classifier decide the number as well."""
        facts = self.facts
        return f"{facts.estimator}; spread: {facts.spread}; weights of the classifier {self.weights_hash}"
