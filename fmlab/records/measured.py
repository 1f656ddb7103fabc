"""How a number was measured, as records hold it, and whether numbers of two measurements may be ranked together.

Nothing heavy is imported: records are compared where nothing is computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
"""A measurement or a setting: plain values under words, as JSON holds them."""

_UNDECISIVE = ("nfe", "versions", "checkpoint", "batch_size")
"""What of a setting does not decide the number."""

_WORDS = {
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
        word = f"the estimator of {name.partition('.')[2]}" if estimator else _WORDS.get(name, name)
        differences.append(f"{word} ({short(first.get(name))} against {short(second.get(name))})")
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
