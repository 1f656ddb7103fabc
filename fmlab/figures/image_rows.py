"""Images along a path: one image a row, one time a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fmlab.figures.sheet import new_figure


def image_rows(
    images: Tensor, column_names: Sequence[str] = (), *, heading: str = "", dpi: int = 220, side: float = 1.0
) -> Any:
    """A figure of images.

    Args:
        images: uint8 of shape (rows, columns, C, H, W), C in {1, 3}.
        column_names: What stands over each column.
        heading: What stands over all of it.
        dpi: Dots an inch.
        side: Inches an image.
    """
    rows, columns = images.shape[:2]
    above = 0.22 * bool(column_names) + 0.24 * bool(heading)
    figure = new_figure(side * columns, side * rows * images.shape[3] / images.shape[4] + above, dpi=dpi)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for line, row in zip(grid, images):
        for axes, image in zip(line, row):
            picture = image.permute(1, 2, 0).expand(-1, -1, 3).numpy()
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
    for axes, name in zip(grid[0], column_names):
        axes.set_title(name, fontsize=8.5, pad=3, math_fontfamily="cm")
    if heading:
        figure.suptitle(heading, fontsize=9.5, math_fontfamily="cm")
    return figure
