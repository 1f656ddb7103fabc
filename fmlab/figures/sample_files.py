"""Samples as files: one picture of all, one picture each, or arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fmlab.data.pixels import to_uint8
from fmlab.errors import UserError
from fmlab.figures import image_grid, point_cloud, save_png


def has_colours(samples: Tensor) -> bool:
    """Whether samples are images with one or three channels."""
    return samples.ndim == 4 and samples.shape[1] in (1, 3)


def save_sample_grid(samples: Tensor, labels: Tensor | None, file: Path) -> None:
    """Writes one picture of samples (n, *event): a row for each class where the rows come out even, or a cloud."""
    if samples.ndim == 2:
        save_png(point_cloud(samples, samples[:0]), file)
        return
    if not has_colours(samples):  # latents
        samples = samples[:, : 3 if samples.shape[1] > 3 else 1]
    rows = len(set(labels.tolist())) if labels is not None else 0
    columns = len(samples) // rows if rows and len(samples) % rows == 0 and len(samples) // rows <= 20 else 10
    save_png(image_grid(to_uint8(samples), min(columns, len(samples))), file)


def write_samples(samples: Tensor, labels: Tensor | None, out: Path) -> Path:
    """Writes a `.npz` with `images` and `labels`, or one PNG per sample in a folder.

    Images are uint8 and NHWC, as evaluators read them. Samples that are not images are written as they are, under
    `points` or `samples`.

    Raises:
        UserError: If a folder is asked for, and the samples are not images.
    """
    are_images = has_colours(samples)
    images = to_uint8(samples).permute(0, 2, 3, 1).numpy() if are_images else samples.numpy()
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        name = "images" if are_images else "points" if samples.ndim == 2 else "samples"
        arrays: dict[str, Any] = {name: images}
        if labels is not None:
            arrays["labels"] = labels.numpy()
        np.savez(out, **arrays)
        return out
    if not are_images:
        raise UserError("these samples are not images", key="out", hint="write --out samples.npz")
    for index, image in enumerate(images):
        label = f"_class{labels[index]}" if labels is not None else ""
        save_png(image.repeat(3, 2) if image.shape[2] == 1 else image, out / f"{index:06d}{label}.png")
    return out
