"""What somebody sees of the package at a Python prompt."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fmlab
from fmlab.data import Digits
from fmlab.data.base import DataModule


def test_the_rooms_are_listed_and_found_by_their_names() -> None:
    names = [name for name in dir(fmlab) if not name.startswith("_")]
    assert names == sorted([*names])
    assert {"load", "table", "paths", "solvers", "metrics"} <= set(names)
    for name in names:
        assert getattr(fmlab, name).__name__ in (f"fmlab.{name}", name)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, fmlab; dir(fmlab); print({'torch', 'lightning', 'numpy'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


def test_data_are_shown_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataModule, "read", None)
    assert str(Digits()) == repr(Digits()) == "Digits(images of shape (1, 8, 8), 10 classes)"
