"""Figures that need no window: their colours, their pixels, and the files and films they are written to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fmlab.records.atomic import atomic_file, make_folder

INK, POINT, WARM, COLD, GIVEN, FAINT = "#24292f", "#1f6feb", "#f0a35e", "#9fb4cc", "#b3261e", "#c4ccd4"
TIME_COLOURS = ("#1f6feb", "#6f42c1", "#b3261e")
"""From t = 0 to t = 1."""
LINE_COLOURS = ("#1f6feb", "#d1570d", "#2f8f4e", "#8250df", "#b3261e", "#57606a", "#0f7b8a", "#a0760b")
"""Of lines in one plot, in their order."""

FILM_DPI = 110
EXACT_COLOURS = ("#ffffff", INK, POINT, GIVEN)
"""A palette keeps these to the bit, and TIME_STEPS colours of time."""
TIME_STEPS = 24


def new_figure(
    width: float, height: float, dpi: int = 220, layout: Literal["constrained"] | None = "constrained"
) -> Any:
    """Makes an empty matplotlib figure of so many inches that draws without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def new_sheet(
    rows: int,
    columns: int,
    size: tuple[float, float],
    column_names: Sequence[str] = (),
    heading: str = "",
    dpi: int = 220,
    beside: float = 0.0,
    pad: float = 0.02,
) -> tuple[Any, Any]:
    """Makes a figure of empty panels of a size in inches, with names over them and room beside; and its axes."""
    above = 0.22 * bool(column_names) + 0.24 * bool(heading)
    figure = new_figure(size[0] * columns + beside, size[1] * rows + above, dpi=dpi)
    figure.get_layout_engine().set(w_pad=pad, h_pad=pad, wspace=0.0, hspace=0.0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, name in zip(grid[0], column_names):
        axes.set_title(name, fontsize=8.5, pad=3, math_fontfamily="cm")
    if heading:
        figure.suptitle(heading, fontsize=9.5, math_fontfamily="cm")
    return figure, grid


def time_colours() -> Any:
    """Returns the colour map of time, from t = 0 to t = 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("time", TIME_COLOURS)


def pixels(figure: Any) -> np.ndarray:
    """Renders a figure as a picture, uint8 of shape (height, width, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def is_film(file: Path) -> bool:
    """Whether a file is for moving pictures."""
    return file.suffix.lower() == ".gif"


def save_png(picture: np.ndarray, file: Path) -> None:
    """Writes a uint8 picture of shape (height, width, 3) as PNG, making the folder."""
    from PIL import Image

    make_folder(file.parent)
    with atomic_file(file, sync=False) as opened:
        Image.fromarray(picture).save(opened, "PNG")


def save_figure(figure: Any, file: Path) -> None:
    """Writes a figure in the format of the file's suffix, making the folder; a PNG has 256 colours and is small."""
    make_folder(file.parent)
    if file.suffix.lower() == ".png":
        picture = pixels(figure)
        with atomic_file(file, sync=False) as opened:
            with_palette(picture, shared_palette([picture], 220)).save(opened, "PNG", optimize=True)
        return
    dates = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}  # the same figure is the same file
    suffix = file.suffix.lower()
    with atomic_file(file, sync=False) as opened:
        figure.savefig(opened, format=suffix[1:], facecolor="white", metadata=dates.get(suffix))


def save_film(frames: Iterable[Any], file: Path, *, seconds: float = 4.0, hold: float = 1.0) -> int:
    """Writes figures of one size as a GIF of so many seconds that repeats; returns how many. The last stays longer."""
    pictures = [pixels(figure) for figure in frames]
    # One palette for all: what does not move is then stored once.
    palette = shared_palette([pictures[0], pictures[len(pictures) // 2], pictures[-1]], 120)
    images = [with_palette(picture, palette) for picture in pictures]
    duration = max(20, round(1000 * seconds / len(images) / 10) * 10)
    durations = [duration] * (len(images) - 1) + [duration + round(1000 * hold)]
    make_folder(file.parent)
    film: dict[str, Any] = {"append_images": images[1:], "duration": durations, "loop": 0, "optimize": True}
    with atomic_file(file, sync=False) as opened:
        images[0].save(opened, "GIF", save_all=True, **film)
    return len(images)


def shared_palette(pictures: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Chooses `count` colours that pictures have most, beside the figures' own: uint8 (colours, 3), at most 256."""
    from PIL import Image, ImageColor

    strip = Image.fromarray(np.concatenate(list(pictures)))
    chosen = strip.quantize(count, method=Image.Quantize.MEDIANCUT).getpalette() or []
    exact = np.array([ImageColor.getrgb(colour) for colour in EXACT_COLOURS])
    time = np.round(255 * time_colours()(np.linspace(0, 1, TIME_STEPS))[:, :3])
    return np.concatenate([exact, time, np.array(chosen).reshape(-1, 3)]).astype(np.uint8)


def with_palette(picture: np.ndarray, palette: np.ndarray) -> Any:
    """Makes a PIL image in which each pixel has the nearest colour of the palette."""
    from PIL import Image

    codes = picture.astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
    distinct, index = np.unique(codes, return_inverse=True)
    colours = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], 1).astype(np.float32)
    available = palette.astype(np.float32)
    # |c - p|^2 less |c|^2, which is the same for all p.
    nearest = np.argmin(np.square(available).sum(1) - 2 * colours @ available.T, axis=1).astype(np.uint8)
    image = Image.fromarray(nearest[index].reshape(codes.shape))
    image.putpalette(palette.flatten().tolist())
    return image
