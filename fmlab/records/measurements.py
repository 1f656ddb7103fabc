"""Measured numbers, as records hold them: how they were measured, and whether two may be ranked together.

Evaluations of a run are rows of values, one per line, in `evaluations/NAME/rows.jsonl`. Records
are compared where nothing is computed, so nothing heavy is imported.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""A measurement or a setting: plain values by name, as JSON holds them."""

NONFINITE = "nonfinite_samples"
"""The count that stands beside metrics, which are then NaN, where samples were not finite."""

_UNDECISIVE = ("nfe", "versions", "checkpoint", "batch_size")
"""What of a setting does not decide the number."""

_NAMES = {
    "samples": "samples generated",
    "reference.data": "the reference",
    "reference.split": "the split of the reference",
    "reference.size": "the size of the reference",
    "reference.hash": "the content of the reference",
    "features.name": "the features",
    "features.weights": "the weights of the features",
    "uint8": "the rounding to uint8",
    "resize": "the resize",
}


def flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values of nested records by their dotted keys; lists count as plain."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@dataclass(frozen=True)
class Comparability:
    """Whether two numbers may be ranked together; false if anything differs.

    Attributes:
        differences: In what their measurements differ, in words.
    """

    differences: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        if self:
            return "measured alike"
        return f"numbers of different measurement are not ranked together; they differ in {', '.join(self.differences)}"


def comparable(a: Record, b: Record) -> Comparability:
    """Whether numbers of these two measurements may be ranked together, and if not, in what they differ.

    Of the estimators those count that both have: one number does not become another when more are measured beside it.
    """
    first, second = dict(flat(a)), dict(flat(b))
    differences = []
    for name in dict.fromkeys([*first, *second]):
        estimator = name.startswith("estimators.")
        if first.get(name) == second.get(name) or (estimator and not (name in first and name in second)):
            continue
        subject = f"the estimator of {name.partition('.')[2]}" if estimator else _NAMES.get(name, name)
        differences.append(f"{subject} ({short(first.get(name))} against {short(second.get(name))})")
    return Comparability(tuple(differences))


def short(value: Any) -> str:
    """A value as a table shows it: hashes by their first eight digits."""
    if isinstance(value, str) and len(value) == 64 and all(digit in "0123456789abcdef" for digit in value):
        return value[:8]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " to ".join(map(str, value)) if len(value) == 2 else ", ".join(map(str, value))
    return "none" if value is None else str(value)


def fingerprint(*records: Any) -> str:
    """SHA-256 (hex) of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()


def row_key(measurement: Record, setting: Record) -> str:
    """What names one number: all that decides it, so neither versions and batch size nor the forwards, a result."""
    checkpoint = setting.get("checkpoint") or {}
    decisive = {name: value for name, value in setting.items() if name not in _UNDECISIVE}
    return fingerprint(measurement, decisive, checkpoint.get("hash"))


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


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a file in the order in which they were finished; torn or foreign lines are none."""
    if not file.exists():
        return
    for line in file.read_bytes().decode(errors="replace").splitlines():
        try:
            content = json.loads(line)
            values = {name: math.nan if value is None else value for name, value in content["values"].items()}
            yield Row(**{**content, "values": values})
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
