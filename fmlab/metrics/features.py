"""Which feature network a distance between images is measured with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch

from fmlab.errors import UserError, nearest
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.source import Source

FeatureKind = Literal["auto", "inception", "domain", "random"]


def feature_network(
    kind: FeatureKind, data: Source, cache_dir: str | Path, inception_weights: str | Path | None = None
) -> FeatureNetwork:
    """The frozen network that turns a data set's uint8 images into features, on the CPU.

    Args:
        kind: `inception`, the network of published numbers; `domain`, a small classifier of this kind of images, which
            ships for digits, Fashion-MNIST and CIFAR-10 and is trained once for other labelled sets; `random`, which
            needs nothing; `auto`, which is `domain` for labelled images in memory and `random` for others.
        data: The data set.
        cache_dir: Where a classifier trained for this set is kept.
        inception_weights: File of the Inception weights, where they are not in the usual place.

    Raises:
        UserError: The data are no images, the kind is unknown or wants labels, or the Inception weights are missing.
    """
    if data.kind != "images":
        raise UserError("feature networks see images; points are compared as they are")
    # Layers draw initial weights when they are made; nobody else's random numbers should depend on that.
    with torch.random.fork_rng(devices=[]):
        return _network(kind, data, cache_dir, inception_weights)


def _network(
    kind: FeatureKind, data: Source, cache_dir: str | Path, inception_weights: str | Path | None
) -> FeatureNetwork:
    if kind == "auto":
        # An image folder too large for memory could train no classifier in the time one has for a metric.
        labelled = data.num_classes is not None and data.num_classes > 1 and getattr(data, "in_memory", True)
        kind = "domain" if labelled else "random"
    if kind == "inception":
        from fmlab.metrics.inception import InceptionFeatures

        return InceptionFeatures(inception_weights)
    if kind == "domain":
        from fmlab.metrics.domain import domain_network

        return domain_network(data, cache_dir)
    if kind == "random":
        from fmlab.metrics.random_features import RandomFeatures

        return RandomFeatures(data.shape)
    raise UserError(f"there are no features called {kind!r}", hint=nearest(str(kind), get_args(FeatureKind)))
