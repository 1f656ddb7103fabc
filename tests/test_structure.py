"""The picture in ARCHITECTURE.md is current, and the package keeps the limits that it sets itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import structure
import torch
from chains import ChainRecorder, digits_chains, sentence

from fmlab.paths import VP


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


def test_a_chain_starts_at_its_root_and_takes_a_file_that_follows_itself_once() -> None:
    recorder = ChainRecorder("paths/gaussian.py", "log_snr")
    with recorder.recording():
        VP().alpha(torch.tensor(0.5))
        VP().log_snr(torch.tensor(0.5))
    assert recorder.longest() == ("paths/gaussian.py", "paths/variance_preserving.py")


@pytest.mark.slow
def test_the_chains_of_files_are_current(tmp_path: Path) -> None:
    hint = "run: python tests/chains.py"
    assert sentence(digits_chains(tmp_path)) in structure.PAGE.read_text(encoding="utf-8"), hint
