"""Samples over the training images that are nearest to them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fmlab.figures.grids import image_grid


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

    pairs = image_grid(torch.cat([samples.cpu(), nearest.cpu()]), len(samples), gap=6, least_side=96)
    height, width, _ = pairs.shape
    column, row = width / len(samples), height / 2
    left, below, dpi = 90, 30, 100  # pixels for the names of the rows and for the distances
    figure = Figure(figsize=((left + width) / dpi, (below + height) / dpi), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    shares = (left / (left + width), below / (below + height))
    axes = figure.add_axes((*shares, 1 - shares[0], 1 - shares[1]))
    axes.set_axis_off()
    axes.imshow(pairs, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    for index, name in enumerate(("sample", "nearest\ntraining\nimage")):
        axes.text(-8, (index + 0.5) * row, name, ha="right", va="center", fontsize=9)
    for index, distance in enumerate(distances.tolist()):
        axes.text((index + 0.5) * column, height + 4, f"{distance:.1f}{unit}", ha="center", va="top", fontsize=9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
