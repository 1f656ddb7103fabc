"""Cells of a table as they are finished, one JSON object per line, so that an interrupted table continues."""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Values = dict[str, float]


@dataclass(frozen=True)
class Cell:
    """One trained network: its place in the table, its seed and the settings that shape its numbers."""

    row: str
    column: str
    seed: int
    settings: Mapping[str, Any]


class TableJournal:
    """The finished cells in a file.

    Args:
        file: JSON lines; made when the first cell is finished. A last line that was not written whole is left out.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: list[dict[str, Any]] = []
        if file.is_file():
            for line in file.read_text().splitlines():
                try:
                    self.lines.append(json.loads(line))
                except json.JSONDecodeError:
                    continue

    def find(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a cell, or None."""
        expected = {**asdict(cell), "settings": dict(cell.settings)}
        return next((line for line in self.lines if all(line[key] == expected[key] for key in expected)), None)

    def measure(self, cell: Cell, compute: Callable[[], Values]) -> dict[str, Any]:
        """A cell's line: as it was measured before, or measured now, written down and printed with its cost."""
        finished = self.find(cell)
        if finished is not None:
            return finished
        began, busy = time.perf_counter(), time.process_time()
        values = compute()
        line = {
            **asdict(cell),
            "settings": dict(cell.settings),
            "values": values,
            "seconds": round(time.perf_counter() - began, 1),
            "cpu_seconds": round(time.process_time() - busy, 1),
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a+b") as out:
            if out.tell() and not self.file.read_bytes().endswith(b"\n"):
                out.write(b"\n")  # a kill left half a line
            out.write(json.dumps(line).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        self.lines.append(line)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        cost = f"{line['cpu_seconds']:.0f} s of a core, {line['seconds']:.0f} s by the clock"
        print(f"{cell.column:16} {cell.row:14} seed {cell.seed}: {shown}   ({cost})", flush=True)
        return line

    def of(self, row: str, column: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The finished seeds of a place in the table, by seed."""
        lines = [
            line
            for line in self.lines
            if (line["row"], line["column"], line["settings"]) == (row, column, dict(settings))
        ]
        return sorted(lines, key=lambda line: line["seed"])


@dataclass(frozen=True)
class Published:
    """A published mean, and its standard deviation over seeds where there is one."""

    mean: float
    deviation: float | None = None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ± {self.deviation:.3f}")


def spread(values: list[float]) -> str:
    """The mean of some seeds and their standard deviation (numpy's, over n), as the papers state them; one has none."""
    deviation = f" ± {statistics.pstdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}" if values else ""


def distance(values: list[float], published: Published | None) -> str:
    """How far our mean is from the published one, in published standard deviations."""
    if not values or published is None or published.deviation is None:
        return ""
    return f"{(statistics.mean(values) - published.mean) / published.deviation:+.1f}"


def cost(lines: list[dict[str, Any]]) -> float:
    """Mean seconds of a core that a cell took."""
    return statistics.mean(line["cpu_seconds"] for line in lines) if lines else math.nan
