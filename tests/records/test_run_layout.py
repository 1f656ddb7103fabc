from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fmlab.errors import UserError
from fmlab.records import RunLayout, find_run, new_run, write_meta


def make_run(experiment: str, run_id: str | None = None, folder: str | Path = "runs") -> RunLayout:
    layout = new_run(folder, experiment, run_id)
    layout.config.write_text("{}\n")
    return layout


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_new_run_has_a_folder_of_its_own() -> None:
    layout = new_run("runs", "digits")
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", layout.id)
    assert layout.root == Path("runs/digits") / layout.id
    assert layout.experiment == "digits"
    assert layout.checkpoints.is_dir()
    assert layout.samples.is_dir()


def test_runs_that_start_at_once_get_different_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([f"{number // 2:04x}" for number in range(200)])  # every name comes twice
    monkeypatch.setattr("fmlab.records.layout.secrets.token_hex", lambda size: next(drawn))
    with ThreadPoolExecutor(8) as pool:
        layouts = list(pool.map(lambda _: new_run("runs", "digits"), range(32)))
    assert len({layout.root for layout in layouts}) == 32


def test_the_processes_of_one_job_share_a_run() -> None:
    assert new_run("runs", "digits", "slurm-7").root == new_run("runs", "digits", "slurm-7").root


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "a\nb"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(UserError) as caught:
        new_run("runs", name)
    assert caught.value.key == "run.name"
    assert not Path("runs").exists()


def test_a_folder_that_cannot_be_made_is_named() -> None:
    Path("runs").write_text("a file")
    with pytest.raises(UserError, match="cannot make") as caught:
        new_run("runs", "digits")
    assert caught.value.key == "run.dir"


def test_a_run_is_found_by_folder_id_or_name() -> None:
    old, other = make_run("digits", "20250101-000000-aaaa"), make_run("toy", "20990101-000000-cccc")
    new = make_run("digits", "20260101-000000-bbbb")
    assert find_run(old.root).root == old.root
    assert find_run(old.root.resolve()).root == old.root.resolve()
    assert find_run(other.id).root == other.root
    assert find_run("digits").root == new.root
    assert find_run("runs/digits").root == new.root
    assert find_run("digits/20250101-000000-aaaa").root == old.root


def test_the_newest_run_is_the_one_created_last() -> None:
    first = make_run("digits", "slurm-9")
    write_meta(first, argv=[], seed=0)
    second = make_run("digits", "slurm-10")
    write_meta(second, argv=[], seed=0)
    os.utime(first.config, (2e9, 2e9))
    assert find_run("digits").root == second.root


def test_runs_may_live_elsewhere() -> None:
    layout = make_run("digits", folder="else/where")
    with pytest.raises(UserError):
        find_run("digits")
    assert find_run("digits", "else/where").root == layout.root
    assert find_run("else/where/digits").root == layout.root


def test_a_folder_that_is_no_run_does_not_hide_one() -> None:
    Path("digits").mkdir()
    layout = make_run("digits")
    assert find_run("digits").root == layout.root


def test_an_unknown_run_names_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        find_run("digits")
    assert "there are no runs in" in str(caught.value.hint)
    layout = make_run("digits")
    make_run("toy2d")
    Path("runs/empty/x").mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        find_run("digit")
    assert (caught.value.key, caught.value.hint) == ("digit", "did you mean digits?")
    with pytest.raises(UserError) as caught:
        find_run(layout.id[:-1] + "z")
    assert layout.id in str(caught.value.hint)
    with pytest.raises(UserError) as caught:
        find_run("xyz")
    assert caught.value.hint == "choose from: digits, toy2d"


def test_checkpoints() -> None:
    layout = make_run("digits")
    with pytest.raises(UserError, match="no checkpoint 'best'") as caught:
        layout.checkpoint()
    assert caught.value.hint == "this run has not saved a checkpoint yet"
    layout.last.touch()
    assert layout.checkpoint("best") == layout.checkpoint("last") == layout.last
    layout.best.touch()
    assert layout.checkpoint("best") == layout.best
    (layout.checkpoints / "step_100.ckpt").touch()
    assert layout.checkpoint("step_100") == layout.checkpoint("step_100.ckpt") == layout.checkpoints / "step_100.ckpt"
    Path("mine.ckpt").touch()
    assert layout.checkpoint("mine.ckpt") == Path("mine.ckpt")
    with pytest.raises(UserError) as caught:
        layout.checkpoint("lats")
    assert caught.value.hint == "did you mean last?"
