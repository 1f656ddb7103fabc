"""The last sample grids of runs as thumbnails, those of the same seeds together."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmlab.comparison.configs import text
from fmlab.comparison.groups import Group, Member

SIDE = 200
"""Pixels of a thumbnail's longer side, at most."""

MOST = 240
"""Pictures a page, at most: they are most of its size."""

_NAME = re.compile(r"step_(\d+)(?:_w([-+.\d\w]+))?\.png")
_SEEDED = ("samples.seed", "samples.columns", "samples.classes", "samples.points", "data")


@dataclass(frozen=True)
class Picture:
    """A thumbnail.

    Attributes:
        group: The place of the run's group.
        member: The run's place in it.
        step: The optimizer step at which it was drawn.
        drawn: The seeds, labels and guidance scale; grids that share it show the same seeds.
        made: The solver that drew it.
        source: The picture as a `data:` address.
        width: In pixels.
        height: In pixels.
    """

    group: int
    member: int
    step: int
    drawn: str
    made: str
    source: str
    width: int
    height: int


def pictures(groups: Sequence[Group], most: int = MOST) -> list[Picture]:
    """The last grid of every run and guidance scale, first of each group's first run, then of its second, and so on."""
    found: list[Picture] = []
    for place in range(max((len(group.members) for group in groups), default=0)):
        for number, group in enumerate(groups):
            if place < len(group.members):
                for picture in _of(group.members[place], number, place):
                    if len(found) == most:
                        return found
                    found.append(picture)
    return found


def _of(member: Member, group: int, place: int) -> Iterator[Picture]:
    newest: dict[str, tuple[int, Path]] = {}
    folder = member.run.layout.samples
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = _NAME.fullmatch(file.name)
        if (name and (name[2] or "") not in newest) or (name and int(name[1]) > newest[name[2] or ""][0]):
            newest[name[2] or ""] = (int(name[1]), file)
    flags = member.run.flags
    seeded = [f"{key.partition('.')[2] or key} {text(flags[key])}" for key in _SEEDED if flags.get(key) is not None]
    made = f"{text(flags.get('samples.solver') or 'Heun')}, {text(flags.get('samples.steps', 10))} steps"
    for scale, (step, file) in newest.items():
        thumbnail = _thumbnail(file)
        if thumbnail is not None:
            drawn = ", ".join([*([f"guidance scale {scale}"] if scale else []), *seeded])
            yield Picture(group, place, step, drawn, made, *thumbnail)


def _thumbnail(file: Path) -> tuple[str, int, int] | None:
    """A picture made small, and its size; None if it cannot be read."""
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
