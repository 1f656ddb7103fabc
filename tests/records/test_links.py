"""A run may be another's: nothing is written through its links, and nothing is deleted that fmlab did not write."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fmlab.errors import UserError
from fmlab.figures import save_png
from fmlab.records import CsvMetrics, RunLayout, atomic_write_text, new_run
from fmlab.records.atomic import append, atomic_file, make_folder, temporary_name

PICTURE = np.zeros((2, 2, 3), dtype=np.uint8)
FOLDERS = ("samples", "checkpoints", "files", "power_ema", "evaluations", "diagnosis", "tensorboard", "wandb")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    layout = RunLayout(tmp_path / "runs/digits/1")
    layout.root.mkdir(parents=True)
    layout.config.write_text("{}\n")
    return layout


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_written_behind_a_link_in_a_run(layout: RunLayout, outside: Path, folder: str) -> None:
    (layout.root / folder).symlink_to(outside)
    file = layout.root / folder / "mine"
    for write in (
        lambda: atomic_write_text(file, "x"),
        lambda: append(file, b"x"),
        lambda: save_png(PICTURE, file),
        lambda: make_folder(layout.root / folder / "deeper"),
    ):
        with pytest.raises(UserError, match="is a link") as caught:
            write()
        assert caught.value.key == str(layout.root / folder)
    assert os.listdir(outside) == ["mine"]
    assert (outside / "mine").read_text() == "mine"


def test_a_link_deeper_in_a_run_is_refused_too(layout: RunLayout, outside: Path) -> None:
    (layout.root / "evaluations").mkdir()
    (layout.root / "evaluations/base").symlink_to(outside)
    with pytest.raises(UserError, match="is a link"):
        atomic_write_text(layout.root / "evaluations/base/rows.jsonl", "x")


def test_the_samples_of_an_exported_file_are_guarded_too(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "net.safetensors").touch()
    (tmp_path / "net").mkdir()
    (tmp_path / "net/samples").symlink_to(outside)
    with pytest.raises(UserError, match="is a link"):
        save_png(PICTURE, tmp_path / "net/samples/mine")


def test_links_above_a_run_are_the_users_own(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}\n")
    (tmp_path / "runs").symlink_to(outside)
    layout = new_run(tmp_path / "runs", "digits")
    atomic_write_text(layout.config, "{}\n")
    save_png(PICTURE, layout.samples / "a.png")
    assert list(outside.rglob("a.png"))


def test_a_record_file_that_is_a_link_is_replaced_or_refused(layout: RunLayout, outside: Path) -> None:
    for name in ("meta.json", "status.json", "samples.png"):
        (layout.root / name).symlink_to(outside / "mine")
    atomic_write_text(layout.meta, "new")
    save_png(PICTURE, layout.root / "samples.png")
    layout.metrics.symlink_to(outside / "mine")
    with pytest.raises(UserError, match="is a link"):
        append(layout.metrics, b"x")
    CsvMetrics(layout.metrics).write(0, {"a": 1.0})  # a new column rewrites the file
    assert (outside / "mine").read_text() == "mine"
    assert layout.meta.read_text() == "new"
    assert not layout.metrics.is_symlink()


def test_temporary_names_cannot_be_foreseen_nor_followed(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {temporary_name(tmp_path / "a").name for _ in range(100)}
    assert len(names) == 100
    assert not any(str(os.getpid()) in name.split(".") for name in names)
    planted = tmp_path / ".a.fmlab-0.tmp"
    planted.symlink_to(outside / "mine")
    monkeypatch.setattr("fmlab.records.atomic.temporary_name", lambda path: planted)
    with pytest.raises(FileExistsError):
        atomic_write_text(tmp_path / "a", "x")
    assert (outside / "mine").read_text() == "mine"


def test_only_own_temporary_files_are_torn(layout: RunLayout, outside: Path) -> None:
    foreign = (".mine.tmp", ".notes.12-34.tmp", "a.tmp")
    for name in foreign:
        (layout.root / name).touch()
        (outside / name).touch()
    (outside / temporary_name(Path("last.ckpt")).name).touch()
    (layout.root / "samples").symlink_to(outside)
    with atomic_file(layout.root / "a"):
        torn = next(layout.root.glob(".a.*"))
        assert layout.torn == [torn]
    assert layout.torn == []


@pytest.mark.parametrize("run_id", ["../../x", "/etc/x", "a/b", "..", "", ".x", "a b", "a\nb", "a\x00b"])
def test_a_run_id_from_the_environment_stays_in_its_folder(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(UserError, match="no folder's name"):
        new_run(tmp_path / "runs", "digits", run_id)
    assert not (tmp_path / "runs").exists()
