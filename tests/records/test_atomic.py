from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from fmlab.records import atomic_write_bytes, atomic_write_json, atomic_write_text


def test_files_are_written_whole_and_leave_nothing_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    atomic_write_text(path, "grün\n")
    assert path.read_text(encoding="utf-8") == "grün\n"
    atomic_write_json(path, {"x": [1, None], "path": tmp_path})
    assert json.loads(path.read_text()) == {"x": [1, None], "path": str(tmp_path)}
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("breaks", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    path = tmp_path / "a"
    atomic_write_text(path, "old")

    def fails(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, breaks, fails)
    with pytest.raises(OSError, match="disk full"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_the_old_file_stands_until_the_new_one_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    seen: list[tuple[str, str]] = []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        seen.append(("sync", path.read_text()))
        real_sync(descriptor)

    def replace(source: str, target: str) -> None:
        seen.append(("replace", path.read_text()))
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    atomic_write_text(path, "new")
    assert seen[:2] == [("sync", "old"), ("replace", "old")]


def test_the_users_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
