"""Samples over the training images that are nearest to them."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def neighbours_picture(samples: Tensor, nearest: Tensor, distances: Tensor, unit: str = "/255") -> np.ndarray:
    """A row of samples over a row of their nearest training images, each pair with its distance.

    Args:
        samples: uint8 images (n, C, H, W), C in {1, 3}.
        nearest: Their nearest training images, likewise.
        distances: The distance of each pair, of shape (n,).
        unit: What is written after a distance.

    Returns:
        uint8 of shape (height, width, 3).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count, aspect = len(samples), samples.shape[-2] / samples.shape[-1]
    figure = Figure(figsize=(0.9 * count + 1.0, 1.8 * aspect + 0.55), dpi=140, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, count, squeeze=False)
    for row, (images, name) in enumerate(((samples, "sample"), (nearest, "nearest\ntraining\nimage"))):
        for axis, image in zip(axes[row], images):
            pixels = image.permute(1, 2, 0).cpu().numpy()
            axis.imshow(pixels[..., 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    for axis, distance in zip(axes[1], distances.tolist()):
        axis.set_xlabel(f"{distance:.1f}{unit}", fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
