"""The files of an evaluation: its rows as CSV and JSON, its table, its plots."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fmlab.evaluation.table import SPREAD, Better, Table, grouped, markdown, table
from fmlab.figures import QualityCurve, draw_curves, save_png
from fmlab.records import atomic_write_json, atomic_write_text
from fmlab.records.measurements import NONFINITE, Row, flat, short


def write_rows(folder: Path, rows: Sequence[Row], better: Better) -> str:
    """Writes `results.json`, `results.csv` and `results.md`; returns the table that the last holds."""
    text = markdown(rows, better)
    atomic_write_json(folder / "results.json", [json.loads(row.line()) for row in rows])
    atomic_write_text(folder / "results.csv", as_csv(rows))
    atomic_write_text(folder / "results.md", text)
    return text


def as_csv(rows: Sequence[Row]) -> str:
    """One line per row: values, then setting and measurement by dotted keys."""
    lines = [
        {
            **row.values,
            **{f"setting.{name}": value for name, value in flat(row.setting)},
            **{f"measurement.{name}": value for name, value in flat(row.measurement)},
            "seconds": round(row.seconds, 3),
            "real_vs_real": row.real_vs_real,
            "key": row.key,
        }
        for row in rows
    ]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    columns.sort(key=lambda name: (name.startswith("setting."), name.startswith("measurement."), name == "key"))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def write_plots(folder: Path, rows: Sequence[Row], better: Better) -> list[Path]:
    """Writes the plots of every measurement that has an axis with more than one value; returns their files."""
    files = []
    for number, group in enumerate(grouped(rows), 1):
        for name, picture in plots(table(group, better)):
            files.append(folder / (f"{name}.png" if number == 1 else f"{name}_{number}.png"))
            save_png(picture, files[-1])
    return files


def plots(shown: Table) -> Iterator[tuple[str, np.ndarray]]:
    """Each metric against NFE and against the guidance scale, where they have more than one value.

    One line per solver; one panel per guidance scale, or for the other a number of steps.
    """
    measured = shown.rows[0].measurement
    title = f"{measured['samples']} samples against {measured['reference']['data']}"
    for axis, other, label, log_x in (
        ("nfe", "guidance_scale", "network forwards per sample (NFE)", True),
        ("guidance_scale", "steps", "guidance scale w", False),
    ):
        varied = "steps" if axis == "nfe" else axis
        if varied not in shown.columns or len({setting.get(varied) for setting in shown.settings} - {None}) < 2:
            continue
        for name in shown.names:
            if name == NONFINITE:  # a count of samples, no metric
                continue
            panels = _panels(shown, name, axis, other)
            real = next((row.values[name] for row in shown.rows if row.real_vs_real and name in row.values), None)
            less = shown.better.get(name, "less") == "less"
            drawn = draw_curves(panels, title, label, name, log_x=log_x, real=real, less_is_better=less)
            yield f"{name}_by_{axis}", drawn


def _panels(shown: Table, name: str, axis: str, other: str) -> dict[str, dict[str, QualityCurve]]:
    """The lines of a metric by panel and name, each with its points in order."""
    points: dict[str, dict[str, list[tuple[float, float, float]]]] = defaultdict(lambda: defaultdict(list))
    naming = [key for key in shown.columns if key not in (axis, other, "steps", "nfe")]
    # A checkpoint names a line by its step alone.
    naming = [key for key in naming if "." not in key or key.startswith("guidance.") or key == "checkpoint.step"]
    for row, setting in zip(shown.rows, shown.settings):
        if row.real_vs_real or name not in row.values or axis not in setting:
            continue
        heading = f"{other.replace('_', ' ')} {short(setting.get(other))}" if other in shown.columns else ""
        line = ", ".join(_word(key, setting.get(key)) for key in naming if setting.get(key) not in ("network", None))
        points[heading][line].append((float(setting[axis]), row.values[name], row.values.get(f"{name}{SPREAD}", 0.0)))
    return {panel: {name: _curve(name, points) for name, points in lines.items()} for panel, lines in points.items()}


def _word(key: str, value: Any) -> str:
    return f"{key.partition('.')[2]} {short(value)}" if "." in key else short(value)


def _curve(line: str, values: list[tuple[float, float, float]]) -> QualityCurve:
    x, y, spread = (list(column) for column in zip(*sorted(values)))
    return QualityCurve(x, y, spread if any(spread) else None, dashed=line.startswith("exact"))
