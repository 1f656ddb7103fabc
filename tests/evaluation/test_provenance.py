"""What makes numbers comparable, and what names a row."""

from __future__ import annotations

from typing import Any

import pytest

from fmlab.errors import UserError
from fmlab.evaluation import Row, comparable, ranked
from fmlab.records.measurements import flat, row_key

MEASURED: dict[str, Any] = {
    "samples": 1000,
    "reference": {"data": "Digits", "split": "train", "size": 1437, "hash": "ab" * 32},
    "features": {"name": "domain", "weights": "cd" * 32},
    "resize": None,
    "uint8": "floor",
    "estimators": {"fid": "Fréchet, v1", "kid": "kernel, v1"},
}
MADE: dict[str, Any] = {
    "field": "network",
    "solver": "Heun()",
    "steps": 10,
    "nfe": None,
    "guidance_scale": 1.0,
    "weights": "averaged, decay 0.999",
    "checkpoint": {"file": "best.ckpt", "step": 3, "hash": "ef" * 32},
    "seeds": [0, 999],
    "batch_size": 250,
    "versions": {"torch": "2.14.1"},
}


def changed(record: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    first, _, rest = name.partition(".")
    return {**record, first: changed(record[first], rest, value) if rest else value}


def row(measured: dict[str, Any], value: float, **changes: Any) -> Row:
    setting = {**MADE, **changes}
    return Row(row_key(measured, setting), measured, setting, {"fid": value})


@pytest.mark.parametrize(
    ("name", "value", "difference"),
    [
        ("samples", 2000, "samples generated (1000 against 2000)"),
        ("reference.split", "validation", "the split of the reference (train against validation)"),
        ("reference.hash", "0f" * 32, "the content of the reference (abababab against 0f0f0f0f)"),
        ("features.name", "inception", "the features (domain against inception)"),
        ("features.weights", "0f" * 32, "the weights of the features (cdcdcdcd against 0f0f0f0f)"),
        ("resize", "299", "the resize (none against 299)"),
        ("uint8", "round", "the rounding to uint8 (floor against round)"),
        ("estimators.fid", "Fréchet, v2", "the estimator of fid (Fréchet, v1 against Fréchet, v2)"),
    ],
)
def test_numbers_of_different_measurement_are_not_ranked(name: str, value: Any, difference: str) -> None:
    """The refusal says in what they differ."""
    other = changed(MEASURED, name, value)
    verdict = comparable(MEASURED, other)
    assert not verdict
    assert verdict.differences == (difference,)
    with pytest.raises(UserError, match="not ranked together") as refused:
        ranked([row(MEASURED, 1.0), row(other, 2.0)], "fid")
    assert difference in str(refused.value)


def test_numbers_measured_alike_are_ranked_whatever_is_measured_beside_them() -> None:
    """Only estimators that both have count, and points have no features at all."""
    alone = {**MEASURED, "estimators": {"fid": "Fréchet, v1"}}
    assert comparable(MEASURED, alone)
    assert str(comparable(MEASURED, alone)) == "measured alike"
    points = {**MEASURED, "features": None}
    assert comparable(points, points)
    assert not comparable(points, MEASURED)
    rows = [row(MEASURED, 3.0, steps=1), row(alone, 1.0, steps=2), row(MEASURED, float("nan"), steps=3)]
    assert [entry.values["fid"] for entry in ranked(rows, "fid")][:2] == [1.0, 3.0]
    assert ranked(rows, "fid", "more")[0].values["fid"] == 3.0
    assert ranked(rows, "fid", "more")[-1] is rows[2], "what is not finite is never the best"


def test_a_key_names_what_decides_the_number() -> None:
    """All of measurement and setting is in it, but the versions, the batch size, the file's name and results."""
    key = row_key(MEASURED, MADE)
    idle = {"nfe", "batch_size", "versions.torch", "checkpoint.file", "checkpoint.step"}
    for name, _ in flat(MADE):
        assert (row_key(MEASURED, changed(MADE, name, "another")) == key) == (name in idle), name
    for name, _ in flat(MEASURED):
        assert row_key(changed(MEASURED, name, "another"), MADE) != key, name
    assert row_key(dict(reversed(MEASURED.items())), dict(reversed(MADE.items()))) == key, "whatever the order"
