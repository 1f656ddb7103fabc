"""Pictures of samples: images in a grid, along a path or over their nearest neighbours; points over a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fmlab.figures.canvas import new_figure, new_sheet, pixels


def image_grid(images: Tensor, columns: int, *, gap: int = 2, least_side: int = 32) -> np.ndarray:
    """Puts images side by side into one picture, uint8 of shape (height, width, 3).

    Args:
        images: uint8 of shape (N, C, H, W), C in {1, 3}, row by row.
        columns: Images per row.
        gap: White pixels between images, after enlarging.
        least_side: Smaller images are enlarged by a whole factor, without smoothing, to at least this side.
    """
    n, _, height, width = images.shape
    factor = max(1, -(-least_side // min(height, width)))
    rows = -(-n // columns)
    images = images.cpu().repeat_interleave(factor, 2).repeat_interleave(factor, 3).expand(n, 3, -1, -1)
    height, width = height * factor + gap, width * factor + gap
    picture = torch.full((3, rows * height + gap, columns * width + gap), 255, dtype=torch.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * height + gap, index % columns * width + gap
        picture[:, top : top + height - gap, left : left + width - gap] = image
    return picture.permute(1, 2, 0).numpy()


def point_cloud(samples: Tensor, reference: Tensor) -> np.ndarray:
    """Draws generated points over reference points of shape (N, 2), as uint8 of shape (height, width, 3)."""
    figure = new_figure(5, 5, dpi=120, layout=None)
    axes = figure.add_subplot()
    for points, colour, label in ((reference, "#b0b0b0", "reference"), (samples, "#1f6feb", "generated")):
        x, y = points.cpu().float().numpy()[:, :2].T
        axes.scatter(x, y, s=2, c=colour, label=label, linewidths=0)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", markerscale=4, frameon=False)
    figure.tight_layout()
    return pixels(figure)


def image_rows(
    images: Tensor, column_names: Sequence[str] = (), *, heading: str = "", dpi: int = 220, side: float = 1.0
) -> Any:
    """Makes a figure of uint8 images (rows, columns, C, H, W) along a path, C in {1, 3}, each `side` inches wide."""
    size = (side, side * images.shape[3] / images.shape[4])
    figure, grid = new_sheet(images.shape[0], images.shape[1], size, column_names, heading, dpi)
    for axes, image in zip(grid.flat, images.flatten(0, 1)):
        axes.imshow(image.permute(1, 2, 0).expand(-1, -1, 3).numpy(), interpolation="nearest")
        axes.set_axis_off()
    return figure


def neighbours_picture(samples: Tensor, nearest: Tensor, distances: Tensor, unit: str = "/255") -> np.ndarray:
    """Draws samples over their nearest training images, each pair with its distance: uint8 of (height, width, 3).

    Images are uint8 (n, C, H, W), C in {1, 3}, and distances (n,).
    """
    pairs = image_grid(torch.cat([samples.cpu(), nearest.cpu()]), len(samples), gap=6, least_side=96)
    height, width, _ = pairs.shape
    column, row = width / len(samples), height / 2
    left, below, dpi = 90, 30, 100  # pixels for the names of the rows and for the distances
    figure = new_figure((left + width) / dpi, (below + height) / dpi, dpi=dpi, layout=None)
    shares = (left / (left + width), below / (below + height))
    axes = figure.add_axes((*shares, 1 - shares[0], 1 - shares[1]))
    axes.set_axis_off()
    axes.imshow(pairs, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    for index, name in enumerate(("sample", "nearest\ntraining\nimage")):
        axes.text(-8, (index + 0.5) * row, name, ha="right", va="center", fontsize=9)
    for index, distance in enumerate(distances.tolist()):
        axes.text((index + 0.5) * column, height + 4, f"{distance:.1f}{unit}", ha="center", va="top", fontsize=9)
    return pixels(figure)
