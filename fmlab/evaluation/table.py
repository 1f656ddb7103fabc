"""Rows as tables: one a measurement, what all its rows share above it, what differs as columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmlab.errors import UserError
from fmlab.metrics.registry import Side
from fmlab.records.measurements import Row, comparable, flat, short

Better = Mapping[str, Side]
"""Of each value's name, whether less or more of it is better."""

SPREAD = "_std"
_ALWAYS = ("solver", "steps", "nfe")
_LAST = ("steps", "nfe")
_SHOWN_VERSIONS = ("versions.fmlab", "versions.torch")


def grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows in groups within which numbers may be compared, each in the order of its settings, real data first.

    A group of nothing but real data is none.
    """
    groups: list[list[Row]] = []
    for row in rows:
        for group in groups:
            if all(comparable(row.measurement, other.measurement) for other in group):
                group.append(row)
                break
        else:
            groups.append([row])
    return [sorted(group, key=_place) for group in groups if not all(row.real_vs_real for row in group)]


def _place(row: Row) -> tuple[Any, ...]:
    setting = row.setting
    names = [str(setting.get(name)) for name in ("path", "grid", "solver")]
    return (
        not row.real_vs_real,
        setting["field"] == "exact",
        float(setting.get("guidance_scale", 0)),
        *names,
        setting.get("steps", 0),
    )


def ranked(rows: Sequence[Row], name: str, better: Side = "less") -> list[Row]:
    """The generated rows that have this value, best first; what is not finite comes last, real data are left out.

    Raises:
        UserError: If they are of different measurement, saying in what they differ.
    """
    rivals = [row for row in rows if name in row.values and not row.real_vs_real]
    for row in rivals[1:]:
        verdict = comparable(rivals[0].measurement, row.measurement)
        if not verdict:
            raise UserError(str(verdict), key=name)
    sign = 1 if better == "less" else -1
    return sorted(rivals, key=lambda row: sign * row.values[name] if math.isfinite(row.values[name]) else math.inf)


@dataclass(frozen=True)
class Table:
    """The rows of one measurement.

    Attributes:
        rows: In order.
        settings: Those of the rows, by dotted key.
        common: What the settings of all generated rows share, by dotted key.
        columns: The dotted keys of settings that are columns.
        names: The metrics.
        better: Whether less or more of each is better.
    """

    rows: Sequence[Row]
    settings: list[dict[str, Any]]
    common: dict[str, Any]
    columns: list[str]
    names: list[str]
    better: Better


def table(rows: Sequence[Row], better: Better) -> Table:
    """A table of rows that may be compared; settings that differ become columns.

    What a row lacks does not differ, but for guidance, of which a record holds only what is not as usual.
    """
    settings_of_all = [dict(flat(row.setting)) for row in rows]
    settings = [setting for row, setting in zip(rows, settings_of_all) if not row.real_vs_real]
    choices: dict[str, dict[str, Any]] = {}
    for setting in settings:
        for key, value in setting.items():
            if value is not None and (not key.startswith("versions.") or key in _SHOWN_VERSIONS):
                choices.setdefault(key, {})[str(value)] = value
    guided = [key for key in choices if key.startswith("guidance.") and not all(key in each for each in settings)]
    differ = [key for key, values in choices.items() if key in (*_ALWAYS, *guided) or len(values) > 1]
    common = {key: next(iter(values.values())) for key, values in choices.items() if key not in differ}
    columns = [key for key in differ if key not in _LAST] + [key for key in _LAST if key in differ]
    names = [name for name in dict.fromkeys(name for row in rows for name in row.values) if not is_spread(name)]
    return Table(rows, settings_of_all, common, columns, names, better)


def is_spread(name: str) -> bool:
    """Whether a value's name is that of another value's spread."""
    return name.endswith(SPREAD)


def markdown(rows: Sequence[Row], better: Better) -> str:
    """The rows as Markdown tables, one a measurement; the second and later ones say why they are apart."""
    parts = []
    groups = grouped(rows)
    for number, group in enumerate(groups):
        verdict = str(comparable(groups[0][0].measurement, group[0].measurement))
        apart = f"\n{verdict[:1].upper()}{verdict[1:]}.\n\n" if number else ""
        parts.append(apart + _measured(group[0]) + "\n" + _body(table(group, better)))
    return "\n".join(parts)


def _measured(row: Row) -> str:
    """The measurement as a line of its own."""
    measurement = row.measurement
    reference, features = measurement["reference"], measurement["features"]
    kind = "images" if measurement["uint8"] else "points"
    size = "" if reference["size"] is None else f" ({reference['size']} {kind}, {short(reference['hash'])})"
    line = f"**{measurement['samples']} {kind} against {reference['data']} {reference['split'] or ''}{size}**"
    if features:
        line += f"; features {features['name']} ({short(features['weights'])}), uint8 {measurement['uint8']}"
        line += f", resize {short(measurement['resize'])}"
    elif measurement["uint8"]:
        line += f"; {measurement['uint8']}"
    return line + "; " + "; ".join(f"{name}: {text}" for name, text in measurement["estimators"].items()) + "\n"


def _body(shown: Table) -> str:
    common = ", ".join(f"{key.removeprefix('versions.')} {short(value)}" for key, value in shown.common.items())
    header = [*(key.replace("_", " ") for key in shown.columns), *shown.names]
    rivals = [row for row in shown.rows if row.setting["field"] == "network"]  # the exact field stands beside them
    best = {name: ranked(rivals, name, side)[:1] for name, side in shown.better.items() if len(rivals) > 1}
    lines = []
    for row, setting in zip(shown.rows, shown.settings):
        values = [with_spread(row.values, name) for name in shown.names]
        values = [
            f"**{text}**" if row in best.get(name, []) and math.isfinite(row.values[name]) else text
            for name, text in zip(shown.names, values)
        ]
        if row.real_vs_real:
            real = f"real against real: {setting['real']}, {setting['against']} others"
            lines.append([real, *[""] * (len(shown.columns) - 1), *values])
        else:
            lines.append([*(_setting(setting.get(key)) for key in shown.columns), *values])
    return f"{common}\n\n{aligned(header, lines, len(shown.columns) - len(_LAST))}"


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else short(value)


def with_spread(values: Mapping[str, float], name: str) -> str:
    """`3.1 ± 0.25`, or the value alone where there is no spread; nothing where there is no value."""
    spread = values.get(f"{name}{SPREAD}")
    return (f"{values[name]:.4g}" if name in values else "") + ("" if spread is None else f" ± {spread:.2g}")


def aligned(header: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int) -> str:
    """A Markdown table whose columns line up; all but the first `text_columns` hold numbers."""
    widths = [max(3, *(len(line[column]) for line in [header, *lines])) for column in range(len(header))]

    def row(cells: Sequence[str]) -> str:
        columns = enumerate(zip(cells, widths))
        padded = [each.ljust(width) if i < text_columns else each.rjust(width) for i, (each, width) in columns]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * width if column < text_columns else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([row(header), row(rule), *map(row, lines)]) + "\n"
