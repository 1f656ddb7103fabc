"""The distance of samples from real data, split into what real data, network, solver and guidance contribute."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fmlab.data.pixels import to_uint8
from fmlab.diagnosis.subject import Subject
from fmlab.errors import UserError
from fmlab.metrics.cache import cache_folder
from fmlab.metrics.features import FeatureKind, feature_network
from fmlab.metrics.frechet import FrechetDistance
from fmlab.metrics.metric import SampleMetric
from fmlab.metrics.registry import metric_key
from fmlab.metrics.transport import Wasserstein2
from fmlab.random import Purpose, fixed_generator

SPLITS = 4
FEWEST = 10  # real examples in a half; a distance between fewer says nothing
MOST_POINTS = 1000  # exact transport takes time as the cube of their number
_FIXED = 20_261_125  # keys the halves


@dataclass(frozen=True)
class SplitMean:
    """A mean over splits of the real data, with the standard deviation over them.

    The splits share their examples, so their spread is not divided by the root of their number.
    """

    mean: float
    error: float


@dataclass(frozen=True)
class Distances:
    """Distances of several sets of n samples from the same halves of the real data, by split.

    Attributes:
        key: The metric's name.
        features: The feature network's name and weights, or None for points.
        values: Distances of each split, by set: `real` is the other half of the real data.
    """

    key: str
    n: int
    features: dict[str, str] | None
    values: Mapping[str, list[float]]

    def value(self, name: str) -> SplitMean:
        """The distance of a set."""
        return _summary(self.values[name])

    def part(self, more: str, less: str) -> SplitMean:
        """How much farther one set is than another, over splits."""
        return _summary([a - b for a, b in zip(self.values[more], self.values[less])])

    def record(self) -> dict[str, Any]:
        """Everything in plain values."""
        return {
            "metric": self.key,
            "samples": self.n,
            "features": self.features,
            "splits": SPLITS,
            **{name: {"mean": self.value(name).mean, "std_of_splits": self.value(name).error} for name in self.values},
        }


def _summary(values: list[float]) -> SplitMean:
    return SplitMean(statistics.fmean(values), statistics.stdev(values))


def measure_distances(subject: Subject, sets: Mapping[str, Tensor], features: FeatureKind) -> Distances:
    """Measures distances of sets of samples, and of the other half, from halves of the reference split.

    Every set (n, *event) is measured against the same halves, so differences come only from how samples were made.
    """
    split = subject.data.split(subject.data.reference)
    n = min(len(split) // 2, *(len(samples) for samples in sets.values()))
    n = n if subject.images else min(n, MOST_POINTS)
    if n < FEWEST:
        raise UserError(f"halves of {n} real examples are too small, at least {FEWEST} are needed")
    if subject.images:
        images = getattr(subject.data, "images", subject.data)  # pairs are judged by what they are pairs of
        network = feature_network(features, images, cache_folder()).to(subject.device)
        key, facts = metric_key("fid", network.name), {"name": network.name, "weights": network.weights_hash}
        features_of = {name: network(to_uint8(samples[:n]).to(subject.device)).cpu() for name, samples in sets.items()}
    else:
        network, key, facts = None, metric_key("w2"), None
        features_of = {name: samples[:n] for name, samples in sets.items()}
    values: dict[str, list[float]] = {name: [] for name in ("real", *sets)}
    metric: SampleMetric
    for index in range(SPLITS):
        rows = torch.randperm(len(split), generator=fixed_generator(_FIXED, Purpose.ORDER, index))[: 2 * n]
        real = split.take(rows)
        if network is not None:
            real = network(real.to(subject.device)).cpu()
        if subject.images:
            rows = real[:n].double()
            metric = FrechetDistance(_Moments(rows.mean(0), rows.T.cov(), n))
        else:
            metric = Wasserstein2(real[:n])
        for name, rows_of_set in {"real": real[n:], **features_of}.items():
            metric.reset()
            metric.update(rows_of_set)
            values[name].append(float(next(iter(metric.compute().values()))))
    return Distances(key, n, facts, values)


@dataclass(frozen=True)
class _Moments:
    """What a Fréchet distance needs of a set of features (n, D)."""

    mu: Tensor
    sigma: Tensor
    n: int
