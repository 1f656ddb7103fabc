"""The picture in ARCHITECTURE.md is current, and the package keeps the limits that it sets itself."""

from __future__ import annotations

import re

import structure


def test_the_picture_of_the_rooms_is_current() -> None:
    hint = "run: python tests/structure.py --write"
    assert structure.picture(structure.room_graph()) in structure.PAGE.read_text(encoding="utf-8"), hint


def test_no_modules_import_in_a_circle() -> None:
    assert structure.circles(structure.import_graph()) == []


def test_a_circle_would_be_seen() -> None:
    assert structure.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


def test_no_file_is_longer_than_350_lines() -> None:
    assert [name for name, path in structure.modules().items() if structure.line_count(path) > 350] == []


def test_every_file_that_the_walks_name_exists() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", structure.PAGE.read_text(encoding="utf-8")))
    assert named
    folders = (structure.PACKAGE, structure.ROOT)
    assert [name for name in named if not any((folder / name).exists() for folder in folders)] == []
