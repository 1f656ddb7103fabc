"""What evaluations of a run measured: rows of values, one a line, in `evaluations/NAME/rows.jsonl`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fmlab.records.measured import Record


@dataclass(frozen=True)
class Row:
    """The values of one cell, with how they were measured and how the samples were made.

    Attributes:
        key: What names it, from measurement and setting.
        measurement: How it was measured.
        setting: How the samples were made.
        values: Each metric's value by its name; `NAME_std` is the spread of `NAME`.
        seconds: What it took, all interrupted attempts included.
        real_vs_real: Whether the samples are real ones: half of the reference against the other half.
    """

    key: str
    measurement: Record
    setting: Record
    values: dict[str, float]
    seconds: float = 0.0
    real_vs_real: bool = False

    def line(self) -> str:
        """The row as JSON in one line; numbers that are not finite are null."""
        values = {name: value if math.isfinite(value) else None for name, value in self.values.items()}
        return json.dumps({**asdict(self), "values": values}, default=str)


def row_in(line: str) -> Row:
    """The row of a line."""
    content = json.loads(line)
    values = {name: math.nan if value is None else value for name, value in content["values"].items()}
    return Row(**{**content, "values": values})


def rows_in(file: Path) -> Iterator[Row]:
    """The rows of a file in the order in which they were finished; torn or foreign lines are none."""
    if not file.exists():
        return
    for line in file.read_bytes().decode(errors="replace").splitlines():
        try:
            yield row_in(line)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
