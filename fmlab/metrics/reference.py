"""What generated samples are compared with: the data, and statistics of its reference split, cached on disk."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.cache import load_or_make
from fmlab.metrics.gaussian_distance import covariance_factor, moments
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.subset import MOST_ROWS, KeyedSubset
from fmlab.records.arrays import read_npz

VERSION = "v2"
"""How statistics are computed and stored; another word makes every cached one new."""


class ReferenceData(Protocol):
    """A data set seen from the metrics; every `fmlab.data.DataModule` is one.

    Attributes:
        shape: Shape of one sample, (channels, height, width) for images.
        num_classes: Number of classes, None for an unlabelled set.
        class_names: Their names, where they have any.
        kind: `images` or `points`.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def num_classes(self) -> int | None: ...
    @property
    def class_names(self) -> Sequence[str] | None: ...
    @property
    def kind(self) -> str: ...

    def reference_batches(self, batch_size: int) -> Iterator[Tensor]:
        """The reference split: uint8 images (B, C, H, W), or float points (B, D)."""
        ...

    def reference_hash(self) -> str:
        """SHA-256 (hex) of the reference split's content."""
        ...

    def labelled_images(self, split: Literal["train", "validation"]) -> tuple[Tensor, Tensor]:
        """All uint8 images and int64 labels of the split `train` or `validation`."""
        ...


@dataclass(frozen=True)
class ReferenceStatistics:
    """What the metrics need to know of a reference set.

    Args:
        mu: Mean feature (D,), float64.
        sigma: Unbiased covariance (D, D), float64.
        factor: A factor L (D, R) of the covariance, L L^T = sigma, float64.
        n: Number of images; None where a file does not say.
        features: Features (at most 10,000, D) of a fixed choice of the images, float32; none where a file has none.
        key: SHA-256 (hex) of all that decides the statistics, or of the file they were read from.
        file: Name of the file they were read from, empty for those of the data module's own reference split.
    """

    mu: Tensor
    sigma: Tensor
    factor: Tensor
    n: int | None
    features: Tensor
    key: str
    file: str = ""


def statistics_key(content: str, network: FeatureNetwork) -> str:
    """SHA-256 (hex) of all that decides the statistics: the images' hash, and the features with weights and resize."""
    made_with = json.dumps(network.description(), sort_keys=True)
    return hashlib.sha256(f"{content}|{made_with}|{VERSION}".encode()).hexdigest()


def reference_statistics(
    data: ReferenceData, network: FeatureNetwork, cache_dir: str | Path, batch_size: int = 500
) -> ReferenceStatistics:
    """Statistics of the reference split's features, from the cache or computed into it.

    Every rank may call it: one computes, the others wait for the file.

    Args:
        data: The data set, of images.
        network: The feature network, on the device on which it is to run.
        cache_dir: Folder of the cache.
        batch_size: Images read at a time; the result does not depend on it.

    Returns:
        The statistics, on the CPU.
    """
    key = statistics_key(data.reference_hash(), network)
    return cached_statistics(data.reference_batches(batch_size), key, network, cache_dir)


def cached_statistics(
    batches: Iterable[Tensor], key: str, network: FeatureNetwork, cache_dir: str | Path
) -> ReferenceStatistics:
    """Statistics of uint8 images (B, C, H, W) known by a key; `batches` is read only if they are not cached."""
    path = Path(cache_dir) / f"reference-{network.name}-{key[:16]}.npz"
    return load_or_make(path, lambda path: _load(path, key, network.dimension), lambda: _compute(batches, network, key))


def reference_points(data: ReferenceData, limit: int = MOST_ROWS) -> Tensor:
    """A fixed choice of at most `limit` points (M, D), float32, of the reference split of a set of points."""
    subset = KeyedSubset(limit)
    for points in data.reference_batches(4096):
        subset.add(points.float().flatten(1))
    return subset.rows()


def sums_device(device: torch.device) -> torch.device:
    """Where float64 sums are kept for a network on `device`: Apple's devices have no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def _compute(batches: Iterable[Tensor], network: FeatureNetwork, key: str) -> bytes:
    """An `.npz` file: `mu` and `sigma`, which others read too, and ours: factor, n, features, key and `made_with`."""
    sums_on = sums_device(network.device)
    total = torch.zeros(network.dimension, dtype=torch.float64, device=sums_on)
    outer = torch.zeros(network.dimension, network.dimension, dtype=torch.float64, device=sums_on)
    subset = KeyedSubset(MOST_ROWS)
    for images in batches:
        features = network(images.to(network.device))
        subset.add(features.cpu())
        rows = features.to(sums_on, torch.float64)
        total += rows.sum(dim=0)
        outer += rows.T @ rows
    if subset.seen < 2:
        raise UserError(f"the reference split has {subset.seen} images; a distance needs at least 2", key="data")
    mu, sigma = (part.cpu() for part in moments(subset.seen, total, outer))
    if not bool(sigma.isfinite().all()):
        raise UserError(f"the {network.name} features of the reference are not all finite", key="features")
    tensors = {"mu": mu, "sigma": sigma, "factor": covariance_factor(sigma), "features": subset.rows()}
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    made_with = np.str_(json.dumps(network.description(), sort_keys=True))
    file = io.BytesIO()
    np.savez(file, **arrays, n=np.int64(subset.seen), key=np.str_(key), made_with=made_with)
    return file.getvalue()


def _load(path: Path, key: str, dimension: int) -> ReferenceStatistics:
    with path.open("rb") as file:
        arrays = read_npz(file, ("mu", "sigma", "factor", "features", "key", "n"))
    mu, sigma, factor, features = (torch.from_numpy(arrays[name]) for name in ("mu", "sigma", "factor", "features"))
    content_key, n = str(arrays["key"]), int(arrays["n"])
    if content_key != key or mu.shape != (dimension,) or sigma.shape != (dimension, dimension):
        raise ValueError("its content is not what its name says")
    return ReferenceStatistics(mu, sigma, factor, n, features, key)
