"""What was damaged after it was written is not used without a word, and hides nothing beside it."""

# ruff: noqa: F811

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.trained_runs import _own_cache, cache, digits, run  # noqa: F401

from fmlab.__main__ import main
from fmlab.records import RunLayout

COMMANDS = [
    ["sample", "--steps", "1", "--num_samples", "2"],
    ["evaluate", "--num_samples", "4"],
    ["export", "--to", "model.safetensors"],
    ["validate"],
]


def flip_a_bit(file: Path) -> None:
    """Flips a bit in the largest part of a checkpoint, which torch reads as a slightly different weight."""
    with zipfile.ZipFile(file) as archive:
        part = max(archive.infolist(), key=lambda one: one.file_size)
    data = bytearray(file.read_bytes())
    data[part.header_offset + 200 + part.file_size // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
def test_a_checkpoint_with_a_flipped_bit_is_refused(
    command: list[str],
    run: RunLayout,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in run.checkpoints.glob("*.ckpt"):
        flip_a_bit(file)
    assert main([command[0], str(run.root), *command[1:]]) == 2
    message = capfd.readouterr().err
    (line,) = [line for line in message.splitlines() if line.startswith("error: ")]
    assert "not what was written" in line
    assert ".ckpt" in line


def spreadsheet(text: str) -> str:
    return "\ufeff" + text.replace(",", ";").replace("\n", "\r\n")


def trimmed(text: str) -> str:
    return "\n".join(line.rstrip(",") for line in text.splitlines()) + "\n"


def cut(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:2], lines[2][: len(lines[2]) // 2], "\n", *lines[3:]])


@pytest.mark.parametrize("spoil", [spreadsheet, trimmed, cut])
def test_bad_metrics_are_named_and_the_other_runs_stay(
    spoil: Callable[[str], str], run: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    other = RunLayout(Path(shutil.copytree(run.root, run.root.with_name("other"))))
    other.metrics.write_text(spoil(other.metrics.read_text()), newline="")
    runs = [str(run.root), str(other.root)]
    assert main(["compare", *runs, "--out", str(tmp_path / "page.html")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("note: ") and str(other.metrics) in line]) == 1
    assert main(["runs", str(run.root.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("metrics.csv" in line for line in lines) == 1
    assert len([line for line in lines if "digits/" in line]) == 2


def test_a_bad_configuration_is_named_and_the_other_runs_stay(
    run: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    other = RunLayout(Path(shutil.copytree(run.root, run.root.with_name("other"))))
    other.config.write_text("model: [")
    for runs in ([run.root, other.root], [other.root, run.root]):
        assert main(["compare", *map(str, runs), "--overwrite", "--out", str(tmp_path / "page.html")]) == 0
        output = capsys.readouterr().out
        assert f"note: {other.config}" in output
        assert "val/" in output
    run.config.write_text("model: [")
    assert main(["compare", str(run.root), str(other.root), "--out", str(tmp_path / "other.html")]) == 2


def test_sample_keeps_the_pictures_that_it_made_before(run: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--labels", "3"], ["--num_samples", "7"], ["--weights", "raw"]):
        assert main(["sample", str(run.root), "--steps", "1", *options]) == 0
    pictures = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("grid ")]
    assert len(set(pictures)) == len(pictures) == 4
    assert all(os.path.getsize(picture) for picture in pictures)
