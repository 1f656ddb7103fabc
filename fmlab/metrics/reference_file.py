"""Reference statistics from a file: fmlab's own, ADM's reference batches, EDM's, EDM2's and pytorch-fid's.

| file | content |
| --- | --- |
| fmlab | `.npz`: `mu`, `sigma`, `factor`, `n`, `features`, `key`, `made_with` |
| ADM | `.npz`: `mu`, `sigma` of a whole data set, `mu_s`, `sigma_s` (not used), and `arr_0`, 10,000 of its images |
| ADM, samples | `.npz`: `arr_0`, uint8 images (N, H, W, 3) |
| EDM, pytorch-fid | `.npz`: `mu`, `sigma` |
| EDM2 | `.pkl`: `{"fid": {"mu", "sigma"}, ...}`; its DINOv2 statistics rest on another resize and are not used |

All `mu` and `sigma` but fmlab's are of the 2048 Inception features, and stand for those alone. A file is known by the
hash of its content.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.gaussian_distance import covariance_factor
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.reference import ReferenceStatistics, cached_statistics, statistics_key
from fmlab.records.arrays import LARGEST, read_npz
from fmlab.records.bounded import read_bytes
from fmlab.records.pickles import read_arrays

_NAMES = ("mu", "sigma", "factor", "n", "features", "key", "made_with", "arr_0")
_BROKEN = (
    *(UserError, OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, MemoryError, RuntimeError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, pickle.PickleError),
)


def statistics_file(path: str | Path, network: FeatureNetwork, cache_dir: str | Path) -> ReferenceStatistics:
    """The reference statistics in a file, for these features.

    Images in the file go through the network, once: their features are what the metrics beside the Fréchet distance
    compare with, and where the network is not Inception also what the Fréchet distance does.

    Args:
        path: The file.
        network: The feature network, on the device on which it is to run.
        cache_dir: Where the features of images in the file are kept.

    Returns:
        The statistics, on the CPU.

    Raises:
        UserError: The file cannot be read, holds no statistics, or those of other features.
    """
    path = Path(path).expanduser()
    try:
        content = read_bytes(path, LARGEST)
        pickled = path.suffix in (".pkl", ".pickle")
        parts = _unpickled(content) if pickled else dict(read_npz(io.BytesIO(content), _NAMES))
    except _BROKEN as error:
        cause = error.message if isinstance(error, UserError) else str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read as reference statistics ({cause})", key="reference") from error
    digest = hashlib.sha256(content).hexdigest()
    images = parts.get("arr_0")
    if "made_with" in parts:
        _check_own(path, parts, network)
    elif "mu" in parts and "sigma" in parts and network.name != "inception" and images is None:
        raise UserError(
            f"{path.name} holds statistics of Inception features, not of {network.name}",
            key="reference",
            hint="choose features: inception",
        )
    if images is not None:
        key = statistics_key(digest, network)
        of_images = cached_statistics(_as_batches(path, images), key, network, cache_dir)
        if network.name != "inception" or "mu" not in parts:
            return replace(of_images, key=digest, file=path.name)
        parts["features"] = of_images.features.numpy()
    return _statistics(path, parts, network, digest)


def _statistics(path: Path, parts: dict[str, Any], network: FeatureNetwork, digest: str) -> ReferenceStatistics:
    """The statistics that stand in a file as `mu` and `sigma`."""
    try:
        mu, sigma = (torch.from_numpy(_small(parts[name], network.dimension)) for name in ("mu", "sigma"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path.name} holds no reference statistics",
            key="reference",
            hint="an .npz has `mu` and `sigma`, or images as `arr_0`",
        ) from error
    size = network.dimension
    if mu.shape != (size,) or sigma.shape != (size, size):
        shapes = " and ".join(str(tuple(part.shape)) for part in (mu, sigma))
        raise UserError(f"{path.name} holds {shapes}, and {network.name} has {size} features", key="reference")
    tolerance = 1e-4 * float(sigma.abs().max())
    finite = bool(mu.isfinite().all()) and bool(sigma.isfinite().all())
    if not finite or not torch.allclose(sigma, sigma.T, rtol=0, atol=tolerance):
        raise UserError(f"{path.name} holds no covariance: it is not finite or not symmetric", key="reference")
    features = torch.from_numpy(np.asarray(parts.get("features", np.zeros((0, size))), dtype=np.float32))
    n = int(parts["n"]) if parts.get("n") is not None else None
    return ReferenceStatistics(mu, sigma, covariance_factor(sigma), n, features, digest, path.name)


def _small(part: Any, size: int) -> np.ndarray:
    """A mean or covariance of so many features, in float64; of another shape as it is, since it may be huge."""
    array = np.asarray(part)
    return np.asarray(part, dtype=np.float64) if array.shape in ((size,), (size, size)) else array


def _check_own(path: Path, parts: dict[str, Any], network: FeatureNetwork) -> None:
    """Refuses a file of ours that was made with other features than these."""
    theirs, ours = json.loads(str(parts["made_with"])), network.description()
    if theirs == ours:
        return
    differing = sorted(key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key))
    shown = ", ".join(f"{key} {_short(theirs.get(key))}, not {_short(ours.get(key))}" for key in differing)
    raise UserError(f"{path.name} was made with other features: {shown}", key="reference")


def _short(value: str | None) -> str:
    return "none" if value is None else value if len(value) < 40 else value[:12]


def _unpickled(content: bytes) -> dict[str, Any]:
    """`mu` and `sigma` of an EDM2 file, or of a plain dictionary."""
    parts = read_arrays(io.BytesIO(content))
    inner = parts.get("fid", parts)
    return {"mu": inner["mu"], "sigma": inner["sigma"], "n": parts.get("num_images")}


def _as_batches(path: Path, images: np.ndarray) -> list[Tensor]:
    """Images (N, H, W, C) as uint8 batches (B, C, H, W)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        shape = f"{images.dtype} {tuple(images.shape)}"
        raise UserError(f"`arr_0` of {path.name} is no batch of uint8 images (N, H, W, 3): {shape}", key="reference")
    return list(torch.from_numpy(images).permute(0, 3, 1, 2).split(500))
