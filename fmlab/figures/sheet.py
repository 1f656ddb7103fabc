"""Panels in rows and columns as one figure, figures as files, and figures in a row as a film."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fmlab.errors import UserError
from fmlab.figures.palette import shared_palette, with_palette
from fmlab.figures.panel import Panel, draw_panel, time_colours

STILL, MOVING = (".png", ".pdf", ".svg"), ".gif"
SIDE = 1.36
"""Inches a panel: five of them are as wide as a page's text."""


def check_suffix(file: Path, *, moving: bool) -> None:
    """Refuses a file that no figure can be written to.

    Args:
        file: The file.
        moving: Whether there is motion to show.

    Raises:
        UserError: If its suffix is none of those that can be written.
    """
    suffix = file.suffix.lower()
    if suffix == MOVING and not moving:
        raise UserError(f"{file}: nothing moves in this figure", key="out", hint="write .png, .pdf or .svg")
    if suffix not in (*STILL, MOVING):
        words = "write .png, .pdf or .svg" + (", or .gif for motion" if moving else "")
        raise UserError(f"{file} is no file that a figure is written to", key="out", hint=words)


def new_figure(width: float, height: float, dpi: int = 220) -> Any:
    """An empty matplotlib figure of so many inches that draws without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def sheet(
    rows: Sequence[Sequence[Panel]],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    *,
    heading: str = "",
    time_bar: bool = False,
    dpi: int = 220,
    side: float = SIDE,
) -> Any:
    """A figure of panels.

    Args:
        rows: The panels, as many in each row.
        row_names: What stands to the left of each row.
        column_names: What stands over each column.
        heading: What stands over all of it.
        time_bar: Whether the colours of time are explained at the right.
        dpi: Dots an inch.
        side: Inches a panel.
    """
    height, width = len(rows), len(rows[0])
    size = (
        side * width + 0.3 * bool(row_names) + 0.45 * time_bar,
        side * height + 0.22 * bool(column_names) + 0.24 * bool(heading),
    )
    figure = new_figure(*size, dpi=dpi)
    figure.get_layout_engine().set(w_pad=0.025, h_pad=0.025, wspace=0.0, hspace=0.0)
    grid = figure.subplots(height, width, squeeze=False)
    for line, panels in zip(grid, rows):
        for axes, panel in zip(line, panels):
            draw_panel(axes, panel)
    for axes, name in zip(grid[0], column_names):
        axes.set_title(name, fontsize=8.5, pad=3, math_fontfamily="cm")
    for axes, name in zip(grid[:, 0], row_names):
        axes.set_ylabel(name, fontsize=8.5, labelpad=3, math_fontfamily="cm")
    if heading:
        figure.suptitle(heading, fontsize=9.5, math_fontfamily="cm")
    if time_bar:
        _time_bar(figure, grid)
    return figure


def save_figure(figure: Any, file: Path) -> None:
    """Writes a figure in the format of the file's suffix, making the folder; a PNG has 256 colours and is small."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}  # the same figure is the same file
    if file.suffix.lower() == ".png":
        picture = pixels(figure)
        with_palette(picture, shared_palette([picture], 220)).save(file, optimize=True)
        return
    figure.savefig(file, facecolor="white", metadata=named.get(file.suffix.lower()))


def pixels(figure: Any) -> np.ndarray:
    """A figure as a picture, uint8 of shape (height, width, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def save_film(frames: Iterable[Any], file: Path, *, seconds: float = 4.0, hold: float = 1.0) -> int:
    """Writes figures of one size as a GIF that repeats, and returns how many there are.

    Args:
        frames: The figures.
        file: The file.
        seconds: How long all of them take.
        hold: How many seconds longer the last one stays.
    """
    pictures = [pixels(figure) for figure in frames]
    # One palette for all: what stands still is then stored once.
    palette = shared_palette([pictures[0], pictures[len(pictures) // 2], pictures[-1]], 120)
    flat = [with_palette(picture, palette) for picture in pictures]
    each = max(20, round(1000 * seconds / len(flat) / 10) * 10)
    durations = [each] * (len(flat) - 1) + [each + round(1000 * hold)]
    file.parent.mkdir(parents=True, exist_ok=True)
    flat[0].save(file, save_all=True, append_images=flat[1:], duration=durations, loop=0, optimize=True)
    return len(flat)


def _time_bar(figure: Any, grid: np.ndarray) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), time_colours()), ax=grid, aspect=40, fraction=0.02, pad=0.01)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 1], labels=["$t=0$", "$t=1$"], fontsize=7.5, math_fontfamily="cm")
    bar.ax.tick_params(length=0)
