"""Samples as one picture: images in rows, points in a scatter plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def image_grid(images: Tensor, columns: int, *, gap: int = 2, least_side: int = 32) -> np.ndarray:
    """Images side by side as one picture, uint8 of shape (height, width, 3).

    Args:
        images: uint8 of shape (N, C, H, W), C in {1, 3}, row by row.
        columns: Images a row.
        gap: White pixels between images, after enlarging.
        least_side: Smaller images are enlarged by a whole factor, without smoothing, to at least this side.
    """
    n, _, height, width = images.shape
    factor = max(1, -(-least_side // min(height, width)))
    rows = -(-n // columns)
    images = images.cpu().repeat_interleave(factor, 2).repeat_interleave(factor, 3).expand(n, 3, -1, -1)
    height, width = height * factor + gap, width * factor + gap
    canvas = torch.full((3, rows * height + gap, columns * width + gap), 255, dtype=torch.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * height + gap, index % columns * width + gap
        canvas[:, top : top + height - gap, left : left + width - gap] = image
    return canvas.permute(1, 2, 0).numpy()


def point_cloud(samples: Tensor, reference: Tensor) -> np.ndarray:
    """Generated points over reference points of shape (N, 2), as one picture, uint8 of shape (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=120)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for points, colour, label in ((reference, "#b0b0b0", "reference"), (samples, "#1f6feb", "generated")):
        x, y = points.cpu().float().numpy()[:, :2].T
        axes.scatter(x, y, s=2, c=colour, label=label, linewidths=0)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", markerscale=4, frameon=False)
    figure.tight_layout()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_png(picture: np.ndarray, file: Path) -> None:
    """Writes a uint8 picture of shape (height, width, 3) as PNG, making the folder."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)
