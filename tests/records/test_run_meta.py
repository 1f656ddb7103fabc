from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmlab.records import RunLayout, read_meta, write_meta
from fmlab.records.meta import git_state, versions


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_record_of_what_a_run_ran_on(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert read_meta(layout) == {}
    write_meta(layout, argv=["--a=1", "b"], seed=7, import_folders=["/x"])
    meta = read_meta(layout)
    assert (meta["argv"], meta["seed"], meta["import_folders"]) == (["--a=1", "b"], 7, ["/x"])
    assert {"python", "torch", "lightning", "fmlab"} <= set(meta["versions"])
    assert meta["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"host", "platform", "folder", "created", "git"} <= set(meta)


def test_versions_are_read_without_importing() -> None:
    code = "import sys; from fmlab.records.meta import versions; versions(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert "torch" in versions()


def test_the_commit_and_whether_the_code_differs_from_it(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "results.csv").write_text("1")
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "my_net.py").write_text("1")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}
    (tmp_path / "my_net.py").unlink()
    (tmp_path / "a.py").write_text("2")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_state_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None
    write_meta(RunLayout(tmp_path), argv=[], seed=0)
    assert read_meta(RunLayout(tmp_path))["git"] == {"fmlab": None, "folder": None}
