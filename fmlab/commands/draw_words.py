"""What figures read from their options alike: times, rows, scales, numbers, files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmlab.commands.evaluate_options import numbers, words
from fmlab.errors import UserError, nearest
from fmlab.figures import MOVING, Scene, check_suffix, save_figure, save_film

ROWS = ("conditional", "marginal", "learned")


def check(options: argparse.Namespace) -> None:
    """Refuses what needs nothing to be computed: numbers out of range, files that cannot be written."""
    check_suffix(Path(options.out), moving=hasattr(options, "frames"))
    for name, least in (("n", 1), ("steps", 1), ("frames", 2)):
        value = getattr(options, name, None)
        if value is not None and value < least:
            raise UserError(f"at least {least}, got {value}", key=name)


def moves(options: argparse.Namespace) -> bool:
    """Whether a GIF is asked for."""
    return Path(options.out).suffix.lower() == MOVING


def read_times(options: argparse.Namespace, *, ends: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """The times of a still figure; of a film so many frames from the first to the last; float64.

    Args:
        options: With `times`, or without for all of `ends`, and `frames`.
        ends: The earliest and the latest.
    """
    given = numbers(options.times, "times", float, "--times 0,0.5,1") if hasattr(options, "times") else [*ends]
    if any(not 0 <= time <= 1 for time in given) or any(not a < b for a, b in pairwise(given)):
        raise UserError(f"times increase within [0, 1], got {options.times}", key="times", hint="write 0,0.5,1")
    if not moves(options):
        return torch.tensor(given, dtype=torch.float64)
    if len(given) < 2:
        raise UserError("a film goes from one time to another", key="times", hint="write 0,1")
    return torch.linspace(given[0], given[-1], options.frames, dtype=torch.float64)


def time_names(times: Tensor) -> list[str]:
    """`t = 0.25`, in the course's notation."""
    return [f"$t={time:g}$" for time in times.tolist()]


def read_rows(
    options: argparse.Namespace, scene: Scene, usual: Sequence[str], known: Sequence[str] = ROWS
) -> list[str]:
    """The rows asked for, or those of the usual ones that there are.

    Raises:
        UserError: If there is no such row, or not of this scene.
    """
    there = [row for row in known if row in scene.fields()]
    if options.rows is None:
        return [row for row in usual if row in there]
    asked = words(options.rows, "rows")
    for row in asked:
        if row not in known:
            raise UserError(f"there is no row {row!r}", key="rows", hint=nearest(row, known))
        if row not in there:
            why = "it takes a trained RUN" if row == "learned" else "a coupling ties noise to data"
            raise UserError(f"nothing {row} here: {why}", key="rows", hint=f"choose from: {', '.join(there)}")
    return asked


def read_scales(options: argparse.Namespace) -> list[float]:
    """The guidance scales."""
    return numbers(options.guidance_scale, "guidance_scale", float, "--guidance.scale 2, or --guidance.scale 1,2,4")


def write(options: argparse.Namespace, still: Callable[[], Any], film: Callable[[], Iterable[Any]]) -> None:
    """Writes the still figure or the film, whichever the file is for, and says where it is."""
    file = Path(options.out)
    if moves(options):
        print(f"figure     {file}, {save_film(film(), file)} frames")
        return
    save_figure(still(), file)
    print(f"figure     {file}")


def describe(scene: Scene) -> str:
    """What is drawn, in a line: how the exact quantities are known stands with it."""
    name = type(scene.data).__name__
    source = "noise" if scene.source is None else type(scene.source).__name__
    coupling = "" if scene.is_independent else f", pairs by {scene.coupling!r}"
    label = "" if scene.label is None else f", class {scene.label}"
    return f"from {source} to {name}{label} along {scene.path!r}{coupling}; {scene.how}"
