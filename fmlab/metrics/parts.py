"""What metrics are built from: the reference, the features and the classifier, each made when one first asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.domain import DomainClassifier
from fmlab.metrics.domain_training import domain_network
from fmlab.metrics.features import feature_network
from fmlab.metrics.measurement import data_reference
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.reference import (
    ReferenceData,
    ReferenceStatistics,
    reference_points,
    reference_statistics,
    sums_device,
)
from fmlab.metrics.reference_file import statistics_file
from fmlab.metrics.registry import Facts
from fmlab.metrics.subset import MOST_ROWS
from fmlab.records.measurements import Record


@dataclass(frozen=True)
class Repeats:
    """How often an image's likelihood is estimated: once for every probe of every dequantisation.

    Attributes:
        dequantisations: Draws within the cells of an image's grey levels, at least 1.
        probes: Probes of the divergence for each of them, at least 1; from 2 on their spread is known.

    Raises:
        UserError: One of them is below 1.
    """

    dequantisations: int = 2
    probes: int = 3

    def __post_init__(self) -> None:
        for key, number in (("dequantisations", self.dequantisations), ("probes", self.probes)):
            if number < 1:
                raise UserError(f"{number} {key}", key=key, hint="at least 1")

    def __str__(self) -> str:
        return f"{self.dequantisations} dequantisations an image, {self.probes} probes for each"


class MetricParts:
    """The parts that metrics of one set of samples share; each raises a UserError where it is not to be had.

    Every rank may ask for them: of what is computed once and cached, one rank computes it and the others wait.

    Args:
        data: The data set, whose reference split the samples are compared with.
        num_samples: Samples of the whole set, on all ranks together.
        cache_dir: Folder of the cache, `cache_folder()`.
        features: The network that sees images, by name (see `feature_network`) or itself, on the device where it runs.
        weights: File of its weights, where they are not in the usual place.
        reference: A file of reference statistics in the place of the data's (see `statistics_file`), or the statistics.
        classifier: The classifier of the data's classes; where the feature network is one, that one.
        device: Where networks run and sums are kept; a device without float64 (Apple's) keeps the sums on the CPU.
        spread: Whether metrics measure their spread as well, where that costs time or memory.
        max_points: The most reference points that points are compared with.
        repeats: How often the likelihood of a held-out image is estimated.
    """

    def __init__(
        self,
        data: ReferenceData,
        num_samples: int,
        cache_dir: str | Path,
        features: str | FeatureNetwork = "auto",
        *,
        weights: str | Path | None = None,
        reference: str | Path | ReferenceStatistics | None = None,
        classifier: DomainClassifier | None = None,
        device: torch.device | str = "cpu",
        spread: bool = True,
        max_points: int = MOST_ROWS,
        repeats: Repeats | None = None,
    ) -> None:
        self.data, self.num_samples, self.cache_dir = data, num_samples, cache_dir
        self.set_size = num_samples if spread else None  # a metric that does not know it measures no spread
        self.repeats = repeats or Repeats()
        self._features, self._weights, self._reference, self._classifier = features, weights, reference, classifier
        self._device, self._max_points = torch.device(device), max_points

    @property
    def device(self) -> torch.device:
        """Where sums are kept."""
        return sums_device(self._device if isinstance(self._features, str) else self._features.device)

    @property
    def images(self) -> ReferenceData:
        """The data set whose images are seen: pairs are judged by what they are pairs of."""
        return getattr(self.data, "images", self.data)

    @cached_property
    def network(self) -> FeatureNetwork:
        """The feature network."""
        if not isinstance(self._features, str):
            return self._features
        try:
            return feature_network(self._features, self.images, self.cache_dir, self._weights).to(self._device)
        except UserError as error:
            raise UserError(error.message, key=error.key or "features", hint=error.hint) from error

    @cached_property
    def classifier(self) -> DomainClassifier:
        """The classifier of the data's classes."""
        if self.data.num_classes is None or self.data.num_classes < 2:
            raise UserError("class accuracy needs data of two or more classes", key="metrics")
        if isinstance(self.network, DomainClassifier):
            return self.network
        if self._classifier is not None:
            return self._classifier
        with torch.random.fork_rng(devices=[]):  # layers draw initial weights when they are made
            return domain_network(self.images, self.cache_dir).to(self._device)

    @cached_property
    def statistics(self) -> ReferenceStatistics:
        """The statistics of the reference images under the feature network."""
        if isinstance(self._reference, ReferenceStatistics):
            return self._reference
        if self._reference is None:
            return reference_statistics(self.data, self.network, self.cache_dir)
        return statistics_file(self._reference, self.network, self.cache_dir)

    def reference_features(self, facts: Facts) -> Tensor:
        """Features (M, D) of a fixed choice of the reference images, no fewer than a metric needs."""
        features, least = self.statistics.features, 2 if self.set_size is None else facts.least
        if len(features) < least:
            cause = f"{facts.name} needs the features of {least} reference images or more"
            raise UserError(
                f"{cause}, and {self.statistics.file or 'the reference'} has {len(features)}", key="metrics"
            )
        return features

    @cached_property
    def points(self) -> Tensor:
        """A fixed choice of the reference points (M, D)."""
        return reference_points(self.data, self._max_points)

    def features_of(self, facts: Facts) -> str | None:
        """The name of the network that a metric sees images through, which ends its keys."""
        if "class_logits" in facts.inputs:
            return DomainClassifier.name
        return self.network.name if {"features", "logits"} & {*facts.inputs} else None

    def reference_record(self) -> Record:
        """What samples are compared with, as a measurement names it."""
        if self.data.kind == "points":
            return data_reference(self.data, len(self.points))
        statistics = self.statistics
        if statistics.file:
            return {"data": statistics.file, "split": None, "size": statistics.n, "hash": statistics.key}
        return data_reference(self.data, statistics.n)
