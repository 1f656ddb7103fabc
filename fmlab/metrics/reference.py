"""Statistics of the reference split, computed once for its content and cached on disk."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.cache import load_or_make
from fmlab.metrics.choice import KeyedChoice
from fmlab.metrics.frechet import moments
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.source import Source

MEASUREMENT = "uint8, resized by the network, v1"
"""How images reach the features; another wording makes every cached statistic new."""
KERNEL_ROWS = 10_000
"""Reference features kept for the kernel distance."""


@dataclass(frozen=True)
class ReferenceStatistics:
    """What the distances need to know of a reference set.

    Args:
        mu: Mean feature (D,), float64.
        sigma: Unbiased covariance (D, D), float64.
        n: Number of images.
        features: Features (at most 10,000, D) of a fixed choice of the images, float32.
        key: SHA-256 (hex) of the images' hash, the network's name and weights, and the way they were measured.
    """

    mu: Tensor
    sigma: Tensor
    n: int
    features: Tensor
    key: str


def reference_key(data: Source, network: FeatureNetwork) -> str:
    """SHA-256 (hex) of all that decides the statistics: images, network, weights and measurement."""
    parts = (data.reference_hash(), network.name, network.weights_hash, MEASUREMENT)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def reference_statistics(
    data: Source, network: FeatureNetwork, cache_dir: str | Path, batch_size: int = 500
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
    key = reference_key(data, network)
    path = Path(cache_dir) / f"reference-{network.name}-{key[:16]}.npz"
    return load_or_make(
        path,
        load=lambda path: _load(path, key, network.dimension),
        make=lambda: _to_bytes(_compute(data, network, key, batch_size)),
    )


def reference_points(data: Source, limit: int = KERNEL_ROWS) -> Tensor:
    """A fixed choice of at most `limit` points (M, D), float32, of the reference split of a set of points."""
    choice = KeyedChoice(limit)
    for points in data.reference_batches(4096):
        choice.add(points.float().flatten(1))
    return choice.rows()


def _compute(data: Source, network: FeatureNetwork, key: str, batch_size: int) -> ReferenceStatistics:
    device = next(network.parameters()).device
    # Apple's devices have no float64.
    sums_on = torch.device("cpu") if device.type == "mps" else device
    total = torch.zeros(network.dimension, dtype=torch.float64, device=sums_on)
    outer = torch.zeros(network.dimension, network.dimension, dtype=torch.float64, device=sums_on)
    choice = KeyedChoice(KERNEL_ROWS)
    for images in data.reference_batches(batch_size):
        features = network(images.to(device))
        choice.add(features.cpu())
        rows = features.to(sums_on, torch.float64)
        total += rows.sum(dim=0)
        outer += rows.T @ rows
    if choice.seen < 2:
        raise UserError(f"the reference split has {choice.seen} images; a distance needs at least 2", key="data")
    mu, sigma = moments(choice.seen, total, outer)
    return ReferenceStatistics(mu.cpu(), sigma.cpu(), choice.seen, choice.rows(), key)


def _to_bytes(statistics: ReferenceStatistics) -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        mu=statistics.mu.numpy(),
        sigma=statistics.sigma.numpy(),
        n=np.int64(statistics.n),
        features=statistics.features.numpy(),
        key=np.str_(statistics.key),
    )
    return file.getvalue()


def _load(path: Path, key: str, dimension: int) -> ReferenceStatistics:
    with np.load(path, allow_pickle=False) as file:
        mu, sigma, features = (torch.from_numpy(file[name]) for name in ("mu", "sigma", "features"))
        found, n = str(file["key"]), int(file["n"])
    if found != key or mu.shape != (dimension,) or sigma.shape != (dimension, dimension):
        raise ValueError("its content is not what its name says")
    return ReferenceStatistics(mu, sigma, n, features, key)
