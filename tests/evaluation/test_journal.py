"""Rows and statistics half way on the disk."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from test_provenance import MADE, MEASURED

from fmlab.evaluation import Journal, Row


def row(key: str, value: float) -> Row:
    return Row(key, MEASURED, MADE, {"fid": value}, seconds=1.5)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.rows() == {}
    rows = [row("a", 0.1 + 0.2), row("b", 1e-300)]
    for one in rows:
        journal.append(one)
    assert list(Journal(tmp_path).rows().values()) == rows
    journal.append(row("c", math.inf))
    assert math.isnan(journal.rows()["c"].values["fid"]), "what is not finite is nothing one may rank"


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for key in "ab":
        journal.append(row(key, 1.0))
    text = journal.file.read_bytes()
    journal.file.write_bytes(text[:-20])
    assert list(journal.rows()) == ["a"]
    journal.append(row("c", 2.0))
    assert list(journal.rows()) == ["a", "c"], "the next row begins a line of its own"


def test_statistics_half_way_belong_to_one_share_of_one_row(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    saved = journal.progress("a" * 64, 0, 2, 8)
    saved.batches, saved.forwards, saved.seconds = 3, 30.0, 1.5
    saved.state = {"fid": {"n": torch.tensor(7), "rows": [torch.ones(2, 3)]}}
    saved.save()
    back = journal.progress("a" * 64, 0, 2, 8).load()
    assert (back.batches, back.forwards, back.seconds) == (3, 30.0, 1.5)
    assert torch.equal(back.state["fid"]["rows"][0], torch.ones(2, 3))
    for key, rank, count, size, matches in (
        ("a" * 16 + "b" * 48, 0, 2, 8, False),
        ("a" * 64, 1, 2, 8, False),
        ("a" * 64, 0, 1, 8, False),
        ("a" * 64, 0, 2, 16, False),
        ("a" * 64, 0, 2, 8, True),
    ):
        assert journal.progress(key, rank, count, size, matches).load().batches == 0, (key, rank, count, size, matches)
    saved.file.write_bytes(saved.file.read_bytes()[:100])
    assert journal.progress("a" * 64, 0, 2, 8).load().batches == 0, "a torn file counts as none"
    journal.forget_progress("a" * 64)
    assert not list(saved.file.parent.iterdir())
