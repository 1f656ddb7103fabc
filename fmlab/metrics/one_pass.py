"""Several metrics of one set of generated images, in one pass over it."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.errors import UserError
from fmlab.metrics.accuracy import ClassAccuracy
from fmlab.metrics.domain import DomainClassifier, domain_network
from fmlab.metrics.external import statistics_file
from fmlab.metrics.features import feature_network
from fmlab.metrics.frechet_spread import FrechetDistanceWithSpread
from fmlab.metrics.inception_score import InceptionScore
from fmlab.metrics.keys import Score, metric_key
from fmlab.metrics.kid import KernelDistanceWithSpread, subset_size
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.prdc import PrecisionRecallDensityCoverage
from fmlab.metrics.reference import ReferenceStatistics, reference_statistics, sums_device
from fmlab.metrics.seen import SeenImages
from fmlab.metrics.source import Source
from fmlab.metrics.wanted import METRICS, check_metrics


class ImageMetrics:
    """The wanted metrics of a set of images that come in batches, in any order, on any number of ranks.

    Each image is known by its place in the set: that decides into which split it falls and whether its features are
    kept, so batches, their order and ranks do not matter. Memory does not grow with the images, but for a byte each.

        metrics = image_metrics(["fid", "kid"], data, num_images=10_000, cache_dir=cache_folder())
        metrics.update(images, labels, places)  # uint8 (B, C, H, W), labels (B,) or None, places in the set (B,)
        metrics.compute()                       # {"fid_domain": 1.2, "fid_domain_std": 0.1, ...}

    Attributes:
        better: Of each value's name, whether less or more of it is better; a spread has none.

    Args:
        names: Which of `METRICS`.
        network: The feature network, on the device on which it is to run.
        reference: Statistics of the reference under that network.
        num_images: Images of the whole set, on all ranks together.
        classifier: Whose classes `accuracy` goes by; where the feature network is a domain classifier, that one.
        alone: Whether this process measures the whole set by itself, whatever other ranks there are.

    Raises:
        UserError: A metric is unknown, needs more images, or the network or the reference lack what it needs.
    """

    def __init__(
        self,
        names: Sequence[str],
        network: FeatureNetwork,
        reference: ReferenceStatistics,
        num_images: int,
        classifier: DomainClassifier | None = None,
        alone: bool = False,
    ) -> None:
        self.names = check_metrics(names, num_images)
        self.network, self.reference, self.num_images = network, reference, num_images
        self.classifier = network if isinstance(network, DomainClassifier) else classifier
        self.device = sums_device(network.device)
        self.seen = SeenImages(num_images)
        self.metrics: dict[str, Metric] = {name: self._make(name) for name in self.names}
        self.better = {
            self._key(score, ""): METRICS[name].better for name in self.names for score in METRICS[name].scores
        }
        for metric in self._all().values():
            metric.to(self.device)
            if alone:
                metric.distributed_available_fn = _not_distributed

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds images, each of them once.

        Args:
            samples: uint8 images (B, C, H, W), on any device.
            labels: The labels (B,) they were made for, which `accuracy` needs, or None.
            places: Their places in the set, int64 (B,), from 0 to num_images - 1.

        Raises:
            UserError: `accuracy` is wanted and there are no labels, or one out of range.
            ValueError: A place is outside the set or was there before.
        """
        if "accuracy" in self.names and labels is None:
            raise UserError("class accuracy needs the labels that the images were made for", key="metrics")
        self.seen.update(places)
        images = samples.to(self.network.device)
        features = self.network(images)
        for name, metric in self.metrics.items():
            if name == "is":
                metric.update(_logits(self.network, features), places)
            elif name == "accuracy" and self.classifier is not None:
                judged = features if self.classifier is self.network else self.classifier(images)
                metric.update(_logits(self.classifier, judged), labels)
            else:
                metric.update(features, places)

    def compute(self, prefix: str = "") -> dict[str, float]:
        """The values and their spreads by key, of all ranks together; every rank has to call it.

        Args:
            prefix: What stands before a slash in the keys, such as `val`; without one there is no slash.

        Raises:
            UserError: Not all images have been there.
        """
        with warnings.catch_warnings():
            # A rank without images of its own, or one that goes on from a state, has not been updated.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            count = int(self.seen.compute())
            if count < self.num_images:
                raise UserError(f"{count} of {self.num_images} images were measured")
            found = [metric.compute() for metric in self.metrics.values()]
        return {self._key(name, prefix): float(value) for each in found for name, value in each.items()}

    def reset(self) -> None:
        """Forgets all images."""
        for metric in self._all().values():
            metric.reset()

    def missing(self) -> Tensor:
        """Places in the set, ascending int64, of the images that were not counted here."""
        return (self.seen.counts == 0).nonzero()[:, 0].cpu()

    def state(self) -> dict[str, Tensor]:
        """What this process has counted, as plain tensors on the CPU, to be saved and given to `add_state`.

        `seen.counts` (num_images,) says which images are in it.
        """
        found = {"identity": torch.frombuffer(bytearray(self._identity()), dtype=torch.uint8)}
        for name, metric in self._all().items():
            for part, value in metric.metric_state.items():
                found[f"{name}.{part}"] = (torch.cat(value) if isinstance(value, list) else value).detach().cpu()
        return found

    def add_state(self, state: dict[str, Tensor]) -> None:
        """Adds what an earlier run or another process had counted. One rank alone adds it, or it counts twice.

        Raises:
            UserError: It belongs to another measurement, or has images that were counted here already.
        """
        if bytes(state["identity"].tolist()) != self._identity():
            raise UserError("the saved state belongs to other metrics, features, reference or number of images")
        if bool((state["seen.counts"].bool() & self.seen.counts.cpu().bool()).any()):
            raise UserError("the saved state has images that were counted already")
        for name, metric in self._all().items():
            parts: dict[str, Any] = {}
            for part, value in metric.metric_state.items():
                saved = state[f"{name}.{part}"].to(self.device)
                parts[part] = [saved] if isinstance(value, list) else saved
            metric.merge_state(parts)
            metric._computed = None  # torchmetrics would give the value of before

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state` gave, and forgets what was counted here."""
        self.reset()
        self.add_state(state)

    def estimators(self) -> dict[str, str]:
        """How each metric and its spread are computed, for the measurement."""
        found = {name: f"{METRICS[name].estimator}; spread: {METRICS[name].spread}" for name in self.names}
        if "kid" in found:
            size = subset_size(self.num_images, len(self.reference.features))
            found["kid"] += f", {size:,} images each"
        if "accuracy" in found and self.classifier is not None:
            found["accuracy"] += f"; weights of the classifier {self.classifier.weights_hash}"
        return found

    def remarks(self) -> list[str]:
        """What a reader of the numbers should know, a line each."""
        if "fid" not in self.names:
            return []
        sets = {"generated": self.num_images, "reference": self.reference.n}
        return [
            f"fid: {n:,} {which} images have a singular covariance in {self.network.dimension:,} dimensions; the "
            "distance between the two covariances is exact, and far from the one that many images would give"
            for which, n in sets.items()
            if n is not None and n <= self.network.dimension
        ]

    def _all(self) -> dict[str, Metric]:
        return {"seen": self.seen, **self.metrics}

    def _make(self, name: str) -> Metric:
        network, reference = self.network, self.reference
        if name == "fid":
            return FrechetDistanceWithSpread(reference, self.num_images)
        if name == "is":
            _logits(network, torch.zeros(1, network.dimension, device=network.device))  # refuses what is no classifier
            return InceptionScore(int(network.num_classes or 0), self.num_images)
        if name == "accuracy":
            if self.classifier is None:
                raise UserError("class accuracy needs a classifier of the data's classes", key="metrics")
            return ClassAccuracy(int(self.classifier.num_classes or 0))
        if len(reference.features) < METRICS[name].images:
            where = reference.file or "the reference"
            raise UserError(
                f"{name} needs the features of {METRICS[name].images} reference images or more, and {where} has "
                f"{len(reference.features)}",
                key="metrics",
            )
        kept = KernelDistanceWithSpread if name == "kid" else PrecisionRecallDensityCoverage
        return kept(reference.features, self.num_images)

    def _key(self, score: str, prefix: str) -> str:
        """The key of `kid`, `kid_std` ...; the ending of a spread comes last. Accuracy is the domain classifier's."""
        base = score.removesuffix("_std")
        features = "domain" if base == "accuracy" else self.network.name
        return metric_key(cast(Score, base), features, prefix) + score[len(base) :]

    def _identity(self) -> bytes:
        """SHA-256 of all that decides the numbers besides the images."""
        known = [self.names, self.num_images, self.network.description(), self.reference.key, self.estimators()]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).digest()


@torch.no_grad()
def _logits(network: FeatureNetwork, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        return network.class_logits(features)


def _not_distributed() -> bool:
    return False


def image_metrics(
    names: Sequence[str],
    data: Source,
    num_images: int,
    cache_dir: str | Path,
    features: str = "auto",
    weights: str | Path | None = None,
    reference: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> ImageMetrics:
    """The metrics of images generated after a data set; every rank may call it.

    Args:
        names: Which of `METRICS`.
        data: The data set, whose reference split the images are compared with.
        num_images: Images of the whole set.
        cache_dir: Folder of the cache, `cache_folder()`.
        features: Which network sees the images, see `feature_network`.
        weights: File of its weights, where they are not in the usual place.
        reference: A file of reference statistics to be used in the place of the data's, see `statistics_file`.
        device: Where the network runs and the sums are kept.

    Raises:
        UserError: A metric is unknown or needs more images, or features, weights or reference are not fit.
    """
    names = check_metrics(names, num_images)
    if "accuracy" in names and (data.num_classes is None or data.num_classes < 2):
        raise UserError("class accuracy needs data of two or more classes", key="metrics")
    images: Source = getattr(data, "images", data)  # pairs are judged by what they are pairs of
    network = feature_network(features, images, cache_dir, weights).to(device)
    classifier = None
    if "accuracy" in names and not isinstance(network, DomainClassifier):
        with torch.random.fork_rng(devices=[]):
            classifier = domain_network(images, cache_dir).to(device)
    if reference is None:
        statistics = reference_statistics(data, network, cache_dir)
    else:
        statistics = statistics_file(reference, network, cache_dir)
    return ImageMetrics(names, network, statistics, num_images, classifier)
