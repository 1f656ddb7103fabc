"""The picture in ARCHITECTURE.md is current, and the package keeps the limits that it sets itself."""

from __future__ import annotations

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


def test_every_page_that_the_walks_name_exists() -> None:
    import re

    text = structure.PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text))
    missing = [
        name for name in named if not (structure.PACKAGE / name).exists() and not (structure.ROOT / name).exists()
    ]
    assert named and not missing
