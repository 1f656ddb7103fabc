"""Pictures of the theory as files, still or moving: paths, fields, flows and images over time, trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmlab.errors import UserError, nearest
from fmlab.figures.canvas import FILM_DPI, is_film, save_figure, save_film
from fmlab.figures.images import image_rows
from fmlab.figures.panel import draw_sheet
from fmlab.figures.scene import ImageScene, Scene
from fmlab.figures.scene_panels import Rows, trajectory_panels
from fmlab.solvers import Grid, Solver

ROWS = ("conditional", "marginal", "learned")
FILM_SIDE, TRAJECTORY_SIDE = 2.4, 2.0
TITLES = {
    "path": {"conditional": "$p_t(x|z)$", "marginal": "$p_t(x{})$"},
    "field": {"conditional": "$u_t(x|z)$", "marginal": "$u_t(x{})$", "learned": r"$u_t^\theta(x{})$"},
    "flow": {"conditional": r"$\psi_t(x|z)$", "marginal": r"$\psi_t(x{})$", "learned": r"$\psi_t^\theta(x{})$"},
}
"""The name of each row of each figure; `{}` is the condition on the class."""
TRAJECTORY_TITLES = {"conditional": "given $z$", "marginal": "exact", "learned": "learned"}


def frame_times(times: Sequence[float], frames: int, file: Path) -> Tensor:
    """The times of a still figure; for a film so many times from the first to the last; float64.

    Raises:
        UserError: If the times do not increase within [0, 1], or a film has only one.
    """
    if any(not 0 <= time <= 1 for time in times) or any(not a < b for a, b in pairwise(times)):
        given = ",".join(f"{time:g}" for time in times)
        raise UserError(f"times increase within [0, 1], got {given}", key="times", hint="write 0,0.5,1")
    if not is_film(file):
        return torch.tensor(times, dtype=torch.float64)
    if len(times) < 2:
        raise UserError("a film goes from one time to another", key="times", hint="write 0,1")
    return torch.linspace(times[0], times[-1], frames, dtype=torch.float64)


def choose_rows(
    requested: Sequence[str] | None, scene: Scene, usual: Sequence[str], possible: Sequence[str] = ROWS
) -> list[str]:
    """The rows that are requested; else those of the usual ones that the scene has."""
    available = [row for row in possible if row in scene.fields()]
    for row in requested or ():
        if row not in possible:
            raise UserError(f"there is no row {row!r}", key="rows", hint=nearest(row, possible))
        if row not in available:
            reason = "it needs a trained RUN" if row == "learned" else "a coupling ties noise to data"
            cause = f"{row} cannot be drawn here: {reason}"
            raise UserError(cause, key="rows", hint=f"choose from: {', '.join(available)}")
    return [row for row in usual if row in available] if requested is None else list(requested)


def draw_rows(figure: str, scene: Scene, panels: Rows, times: Tensor, file: Path) -> int:
    """Writes the rows of a `path`, `field` or `flow` over time, or a film of them; returns the number of frames."""
    label = "" if scene.label is None else "|y"
    names = [TITLES[figure][row].format(label) for row in panels]
    if not is_film(file):
        save_figure(draw_sheet(list(panels.values()), names, [f"$t={t:g}$" for t in times.tolist()]), file)
        return 1
    frames = (
        draw_sheet([columns], (), names, heading=f"$t={t:.2f}$", dpi=FILM_DPI, side=FILM_SIDE)
        for t, columns in zip(times.tolist(), zip(*panels.values()))
    )
    return save_film(frames, file)


def draw_trajectories(
    columns: Mapping[str, tuple[Scene, Solver]],
    rows: Sequence[str],
    frames: int,
    n: int,
    grid: Grid,
    steps: int,
    file: Path,
) -> int:
    """Writes n trajectories over source and target, or a film of them; returns the number of frames.

    Columns are scenes and the solvers that follow them, by name; rows are fields.
    """
    until = torch.linspace(0, 1, frames, dtype=torch.float64) if is_film(file) else torch.ones(1, dtype=torch.float64)
    pictures = trajectory_panels(list(columns.values()), rows, until, n, grid, steps)
    names = [TRAJECTORY_TITLES[row] for row in rows] if len(rows) > 1 else []
    look: dict[str, Any] = {"row_names": names, "column_names": list(columns)}
    look |= {"time_bar": True, "side": TRAJECTORY_SIDE}
    if not is_film(file):
        save_figure(draw_sheet(pictures[-1], **look), file)
        return 1
    times = until.tolist()
    return save_film(
        (draw_sheet(rows, heading=f"$t={t:.2f}$", dpi=FILM_DPI, **look) for t, rows in zip(times, pictures)), file
    )


def draw_images(scene: ImageScene, times: Tensor, n: int, file: Path) -> int:
    """Writes n images on their way from noise, or a film of them; returns the number of frames."""
    images = scene.sample(times, n)
    if not is_film(file):
        save_figure(image_rows(images, [f"$t={t:g}$" for t in times.tolist()]), file)
        return 1
    frames = images.transpose(0, 1)
    return save_film(
        (image_rows(row[None], heading=f"$t={t:.2f}$", dpi=FILM_DPI) for t, row in zip(times.tolist(), frames)), file
    )
