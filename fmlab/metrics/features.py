"""Which feature network a distance between images is measured with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch

from fmlab.errors import UserError, nearest
from fmlab.metrics.domain_training import domain_network
from fmlab.metrics.network import FeatureNetwork, OwnFeatures, RandomFeatures
from fmlab.metrics.reference import ReferenceData
from fmlab.metrics.torch_fidelity import ClipFeatures, DinoV2Features, InceptionFeatures

FeatureKind = Literal[
    "auto",
    "inception",
    "domain",
    "random",
    "dinov2",
    "dinov2-vit-s-14",
    "dinov2-vit-b-14",
    "dinov2-vit-l-14",
    "dinov2-vit-g-14",
    "clip",
    "clip-vit-b-32",
    "clip-vit-b-16",
    "clip-vit-l-14",
    "clip-vit-l-14-336px",
]


def feature_network(
    kind: FeatureKind | str, data: ReferenceData, cache_dir: str | Path, weights: str | Path | None = None
) -> FeatureNetwork:
    """The frozen network that turns a data set's uint8 images into features, on the CPU.

    Args:
        kind: `inception`, the network of published numbers; `domain`, a small classifier of this kind of images, which
            ships for digits, Fashion-MNIST and CIFAR-10 and is trained once for other labelled sets; `random`, which
            needs nothing; `auto`, which is `domain` for labelled images in memory and `random` for others; `dinov2`
            (ViT-L/14) and `clip` (ViT-B/32), or one of their other sizes; or the import path of a network of your own,
            `my_features.MyFeatures`.
        data: The data set.
        cache_dir: Where a classifier trained for this set is kept.
        weights: File of the weights of Inception, DINOv2 or CLIP, where they are not in the usual place.

    Raises:
        UserError: The data are no images, the kind is unknown or wants labels, or the weights are missing.
    """
    if data.kind != "images":
        raise UserError("feature networks see images; points are compared as they are")
    if "." not in kind and kind not in get_args(FeatureKind):
        raise UserError(f"there are no features called {kind!r}", hint=nearest(kind, get_args(FeatureKind)))
    kind = choose_features(kind, data)
    # Layers draw initial weights when they are made; nobody else's random numbers should depend on that.
    with torch.random.fork_rng(devices=[]):
        if "." in kind:
            return OwnFeatures(kind, data.shape)
        if kind == "inception":
            return InceptionFeatures(weights)
        if kind.startswith("dinov2"):
            return DinoV2Features("dinov2-vit-l-14" if kind == "dinov2" else kind, weights)
        if kind.startswith("clip"):
            return ClipFeatures("clip-vit-b-32" if kind == "clip" else kind, weights)
        return domain_network(data, cache_dir) if kind == "domain" else RandomFeatures(data.shape)


def choose_features(kind: str, data: ReferenceData) -> str:
    """The kind of network that `auto` stands for with these data; any other kind is itself."""
    if kind != "auto":
        return kind
    # An image folder too large for memory could train no classifier in the time one has for a metric.
    labelled = data.num_classes is not None and data.num_classes > 1 and getattr(data, "in_memory", True)
    return "domain" if labelled else "random"
