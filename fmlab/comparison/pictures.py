"""The last sample grids of runs as thumbnails, those of the same seeds together."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fmlab.comparison.configs import text
from fmlab.comparison.groups import Member, SeedGroup

SIDE = 200
"""Pixels of a thumbnail's longer side, at most."""

MOST = 240
"""Pictures on a page, at most: they are most of its size."""

_NAME = re.compile(r"step_(\d+)(?:_w([-+.\d\w]+))?\.png")
_SEEDED = ("samples.seed", "samples.columns", "samples.classes", "samples.points", "data")


@dataclass(frozen=True)
class Thumbnail:
    """A sample grid, small, of a member of a group, both by their indices; its size is in pixels.

    Attributes:
        drawn: The seeds, labels and guidance scale; grids that share it show the same seeds.
        source: The picture as a `data:` address.
    """

    group: int
    member: int
    step: int
    drawn: str
    solver: str
    source: str
    width: int
    height: int


def thumbnails(groups: Sequence[SeedGroup], most: int = MOST) -> list[Thumbnail]:
    """Returns the last grids of every run, first of each group's first run, then of its second, and so on."""
    positions = sorted(
        (position, index) for index, group in enumerate(groups) for position in range(len(group.members))
    )
    grids = (grid for position, index in positions for grid in _grids(groups[index].members[position], index, position))
    return list(islice(grids, most))


def _grids(member: Member, group: int, position: int) -> Iterator[Thumbnail]:
    """The last grid of each guidance scale."""
    newest: dict[str, tuple[int, Path]] = {}
    for file in sorted(member.run.layout.samples.glob("*.png")):
        name = _NAME.fullmatch(file.name)
        if name:
            step, scale = int(name[1]), name[2] or ""
            newest[scale] = max(newest.get(scale, (-1, file)), (step, file))
    flags = member.run.flags
    seeded = [f"{key.partition('.')[2] or key} {text(flags[key])}" for key in _SEEDED if flags.get(key) is not None]
    solver = f"{text(flags.get('samples.solver') or 'Heun')}, {text(flags.get('samples.steps', 10))} steps"
    for scale, (step, file) in newest.items():
        encoded = _encode(file)
        if encoded is not None:
            drawn = ", ".join([*([f"guidance scale {scale}"] if scale else []), *seeded])
            yield Thumbnail(group, position, step, drawn, solver, *encoded)


def _encode(file: Path) -> tuple[str, int, int] | None:
    """The picture, small, and its size; None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError):
        return None
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=75)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/webp;base64,{encoded}", *image.size
