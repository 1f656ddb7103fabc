"""Tables of rows: groups, columns, the best value; and the files that hold them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from test_provenance import MADE, MEASURED, changed

from fmlab.evaluation import Row, markdown
from fmlab.evaluation.report import as_csv, plots, write_rows
from fmlab.evaluation.table import grouped, table
from fmlab.records.measurements import NONFINITE, row_key

LESS = {"fid": "less"}


def row(value: float, measured: dict[str, Any] = MEASURED, real: bool = False, **changes: Any) -> Row:
    setting = {"field": "real data", "real": 500, "against": 700} if real else {**MADE, **changes}
    values = {"fid": value, "fid_std": 0.25} if not real else {"fid": value}
    return Row(row_key(measured, setting), measured, setting, values, real_vs_real=real)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def body(text: str) -> list[list[str]]:
    return [cells(line) for line in text.splitlines() if line.startswith("|") and "---" not in line]


def test_what_differs_is_a_column_and_what_is_common_is_said_once() -> None:
    rows = [row(3, steps=20, nfe=39), row(2, steps=10, nfe=19), row(0.1, real=True), row(1, field="exact", nfe=19)]
    text = markdown(rows, LESS)
    header, *lines = body(text)
    assert header == ["field", "solver", "steps", "nfe", "fid"]
    assert [line[2:] for line in lines] == [
        ["", "", "0.1"],
        ["10", "19", "**2 ± 0.25**"],
        ["20", "39", "3 ± 0.25"],
        ["10", "19", "1 ± 0.25"],
    ], "real data first, then in the order of settings; the best is the network's best"
    assert lines[0][0] == "real against real: 500, 700 others"
    assert markdown(rows[1:], LESS).count("**") == 2, "in the heading: one alone is the best of none"
    common = text.split("|")[0]
    for part in ("1000 images against Digits train (1437 images, abababab)", "domain (cdcdcdcd)", "Fréchet, v1"):
        assert part in common
    for part in ("weights averaged, decay 0.999", "checkpoint.hash efefefef", "seeds 0 to 999", "torch 2.14.1"):
        assert part in common


def test_each_measurement_has_a_table_of_its_own_that_says_why() -> None:
    other = changed(MEASURED, "features.name", "random")
    rows = [row(5, other, steps=1), row(3, steps=1), row(4, steps=2), row(6, other, steps=2), row(0, other, real=True)]
    groups = grouped(rows)
    assert [[entry.values["fid"] for entry in group] for group in groups] == [[0, 5, 6], [3, 4]]
    text = markdown(rows, LESS)
    assert text.count("against Digits train") == 2, "each has its header line"
    assert (
        "Numbers of different measurement are not ranked together; they differ in the features (random against domain)"
        in text
    )
    assert re.findall(r"\*\*(\d) ±", text) == ["5", "3"], "each has a best of its own"
    assert grouped([row(0, real=True)]) == [], "nothing but real data is no table"


def test_the_files_hold_every_number_with_measurement_and_setting(tmp_path: Path) -> None:
    rows = [row(3, steps=20, nfe=39), row(float("nan"), steps=10), row(0.1, real=True)]
    text = write_rows(tmp_path, rows, LESS)
    assert (tmp_path / "results.md").read_text() == text
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored[0]["measurement"] == MEASURED
    assert stored[0]["setting"] == {**MADE, "steps": 20, "nfe": 39}
    assert stored[1]["values"]["fid"] is None, "JSON knows no nan"
    read = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert [line["fid"] for line in read] == ["3", "nan", "0.1"]
    assert read[0]["setting.checkpoint.hash"] == MADE["checkpoint"]["hash"]
    assert read[0]["measurement.reference.hash"] == MEASURED["reference"]["hash"]


def test_only_an_axis_with_several_values_is_plotted() -> None:
    one = [row(3, nfe=19), row(0.1, real=True)]
    assert list(plots(table(one, LESS))) == []
    steps = [row(3, steps=5, nfe=9), row(2, steps=10, nfe=19), row(0.1, real=True)]
    assert [name for name, _ in plots(table(steps, LESS))] == ["fid_by_nfe"]
    both = [*steps, row(4, steps=5, nfe=18, guidance_scale=2.0), row(1, steps=10, nfe=38, guidance_scale=2.0)]
    drawn = dict(plots(table(both, LESS)))
    assert list(drawn) == ["fid_by_nfe", "fid_by_guidance_scale"]
    assert all(picture.ndim == 3 for picture in drawn.values())


def test_how_many_samples_are_not_finite_is_in_the_table_and_no_plot() -> None:
    rows = [
        replace(row(math.nan, steps=steps, nfe=2 * steps), values={"fid": math.nan, NONFINITE: 3.0})
        for steps in (5, 10)
    ]
    assert NONFINITE in markdown(rows, LESS)
    assert [name for name, _ in plots(table(rows, LESS))] == ["fid_by_nfe"]
