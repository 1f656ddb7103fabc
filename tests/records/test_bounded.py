"""A hostile text is refused in a sentence, before it takes memory, stack or time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.hostile import BOMB

from fmlab.errors import UserError
from fmlab.records.bounded import read_json_object, read_text, read_yaml_mapping


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (BOMB, "has more than 100,000 values"),
        ("a: &a {b: *a}\n", "has more than"),
        ("a: " + "[" * 500, "is nested more than 50 deep"),
        ("a: " + "[" * 5000, "maximum nesting depth"),
        ("- " * 5000, "is nested more than 50 deep"),
        ("a: " + "x" * 2_000_000, "is larger than 1,000,000 bytes"),
        ("a: " + "9" * 5000, "is not YAML text"),
        ("- a\n", "expected `key: value` lines"),
        ("a: [", r"file.yaml:\d: did not find"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_a_hostile_document_is_refused(text: str, answer: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=answer):
        read_yaml_mapping(file)


def test_aliases_that_stay_small_are_read(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert read_yaml_mapping(file) == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "missing", "bytes"])
def test_what_is_no_text_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    make = {
        "device": lambda: file.symlink_to("/dev/zero"),
        "pipe": lambda: os.mkfifo(file),
        "folder": file.mkdir,
        "missing": lambda: None,
        "bytes": lambda: file.write_bytes(b"\xff\xfe"),
    }
    make[kind]()
    with pytest.raises(UserError, match=r"is no file|cannot be read"):
        read_text(file)
    assert read_json_object(file) == {}


def test_json_that_is_no_object_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    for text in ("[1]", "{", "[" * 100_000, '{"a": 1'):
        file.write_text(text)
        assert read_json_object(file) == {}
    file.write_text('{"a": 1}')
    assert read_json_object(file) == {"a": 1}
