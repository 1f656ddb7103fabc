"""A changed bit or a cut in a checkpoint is noticed, the newest whole one is used, and a full disk costs none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fmlab.errors import UserError
from fmlab.training.checkpoint_files import damage, newest_whole, step_of, write_checkpoint


def state(step: int, size: int = 1000) -> dict:
    return {"global_step": step, "state_dict": {"w": torch.randn(size), "b": torch.arange(7)}}


def same(left: dict, right: dict) -> bool:
    equal = (torch.equal(left["state_dict"][name], right["state_dict"][name]) for name in ("w", "b"))
    return left["global_step"] == right["global_step"] and all(equal)


def test_what_is_written_is_whole_and_the_old_one_is_kept(tmp_path: Path) -> None:
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for step in (1, 2, 3):
        write_checkpoint(state(step), last, previous)
    assert [damage(file) for file in (last, previous)] == [None, None]
    assert [step_of(file) for file in (last, previous)] == [3, 2]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_every_flipped_bit_is_harmless_or_noticed(tmp_path: Path) -> None:
    """Bits that a zip does not need (dates, padding) may change; what is loaded then is what was written."""
    file = tmp_path / "last.ckpt"
    written = state(5, size=20)
    write_checkpoint(written, file)
    whole = file.read_bytes()
    noticed = 0
    for position in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        file.write_bytes(flipped)
        if damage(file) is None:
            assert same(torch.load(file, weights_only=True), written), position
        else:
            noticed += 1
    assert noticed > 200


@pytest.mark.parametrize("length", [0, 1, 100, 3000, -1])
def test_a_cut_file_is_noticed(tmp_path: Path, length: int) -> None:
    file = tmp_path / "last.ckpt"
    write_checkpoint(state(5), file)
    file.write_bytes(file.read_bytes()[:length])
    assert damage(file)


def test_the_newest_whole_checkpoint_is_chosen(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.ckpt" for name in ("last", "previous", "best")]
    assert newest_whole(files) == (None, {})
    for file, step in zip(files, (30, 20, 25)):
        write_checkpoint(state(step), file)
    assert newest_whole(files) == (files[0], {})
    files[0].write_bytes(files[0].read_bytes()[:500])
    newest, damaged = newest_whole(files)
    assert newest == files[2]
    assert list(damaged) == [files[0]]
    for file in files[1:]:
        file.write_bytes(b"")
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        newest_whole(files)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    """Its pickle is read by torch's restricted reader."""
    file = tmp_path / "last.ckpt"
    torch.save({"global_step": 1, "state_dict": subprocess.run}, file)
    with pytest.raises(Exception, match="weights_only"):
        step_of(file)


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    """The system refuses files beyond a size, as it does without room, in a process of its own."""
    file = tmp_path / "last.ckpt"
    write_checkpoint(state(5), file, tmp_path / "previous.ckpt")
    code = f"""
import resource, sys, torch
from pathlib import Path
from fmlab.errors import RunFailure
from fmlab.training.checkpoint_files import write_checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    state = {{"global_step": 6, "w": torch.zeros(100_000)}}
    write_checkpoint(state, Path({str(file)!r}), Path({str(tmp_path / "previous.ckpt")!r}))
except RunFailure as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the disk is full" in ended.stdout, ended.stderr
    assert "last.ckpt is still the old one" in ended.stdout
    assert step_of(file) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"], "nothing half-written stays behind"
