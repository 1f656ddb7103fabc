"""A run remembers its data: it lives on without them, and says when they have changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.image_files import encoded, picture, write_folder
from helpers.tiny_runs import arguments, newest

import fmlab
from fmlab.__main__ import main
from fmlab.figures import sample_files
from fmlab.records import RunLayout

IMAGES = {
    f"{name}/{number}.png": encoded(picture(number, 8, 8, channels=1))
    for name in ("cat", "dog", "fox")
    for number in range(12)
}
OFF = ("--fid.enabled=false", "--samples.enabled=false", "--floor.enabled=false")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunLayout:
    """A run on the folder `images` of the working directory."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    write_folder(home / "images", IMAGES)
    data = [
        "--data=ImageFolder",
        "--data.path=images",
        "--data.size=8",
        "--data.channels=1",
        "--data.global_batch_size=8",
    ]
    assert main(["fit", *arguments(home / "runs", *data, *OFF)]) == 0
    return newest(home / "runs")


def test_it_is_sampled_exported_and_loaded_without_its_images_from_elsewhere(
    run: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("images")
    monkeypatch.chdir(tmp_path)
    assert fmlab.load(run.root).class_names == ["cat", "dog", "fox"]
    argv = ["--labels=fox,cat", "--num_samples=2", "--steps=2", "--out=a.npz"]
    assert main(["sample", str(run.root), *argv]) == 0
    assert main(["export", str(run.root), "--to=a.safetensors"]) == 0
    assert fmlab.load("a.safetensors").class_names == ["cat", "dog", "fox"]
    assert main(["sample", "a.safetensors", *argv]) == 2
    assert "out: a.npz is there already" in capsys.readouterr().err
    assert main(["sample", "a.safetensors", *argv, "--overwrite"]) == 0
    capsys.readouterr()
    assert main(["sample", str(run.root), "--labels=fix"]) == 2
    assert "did you mean fox?" in capsys.readouterr().err
    assert main(["evaluate", str(run.root), "--num_samples=4"]) == 2
    assert "'images' does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "message"), [("new", "new: bee"), ("renamed", "new: wolf; gone: fox")])
def test_a_folder_that_is_added_or_renamed_is_said_in_one_line(
    run: RunLayout, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    if change == "new":
        shutil.copytree("images/cat", "images/bee")
    else:
        Path("images/fox").rename("images/wolf")
    capsys.readouterr()
    root = str(run.root)
    for argv in (["fit", "--resume", root], ["validate", root], ["evaluate", root, "--num_samples=4"]):
        assert main(argv) == 2, argv
        error = capsys.readouterr().err
        assert f"the classes are not those of the run ({message})" in error, argv
        assert len(error.splitlines()) <= 3


def test_images_that_were_added_are_said_at_the_resume(run: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("images/cat/1.png", "images/cat/99.png")
    assert main(["fit", "--resume", str(run.root), "--trainer.max_steps=6"]) == 0
    output = capsys.readouterr().out
    assert "data       ImageFolder, 1 x 8 x 8: 33 to train, 4 to validate; 3 classes: cat, dog, fox" in output
    assert "note: the training examples are not those of before: 33, not 32" in output


def test_a_run_in_a_folder_that_cannot_be_written_to_is_sampled_with_out(
    run: RunLayout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sample_files, "save_png", refuse)
    argv = ["sample", str(run.root), "--num_samples=2", "--steps=2"]
    assert main([*argv, "--out=a.npz"]) == 0
    assert Path("a.npz").is_file()
    capsys.readouterr()
    assert main(argv) == 2
    assert "add --out samples.npz" in capsys.readouterr().err
