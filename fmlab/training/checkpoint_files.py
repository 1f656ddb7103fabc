"""Checkpoint files: they are written whole or not at all, and checked for damage before they are used.

A checkpoint is a zip archive, in which torch writes the CRC-32 of everything it holds; so `unzip -t last.ckpt` too
finds out whether a file is whole. Torch itself does not look at them when it loads.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fmlab.config.merge import differing_keys
from fmlab.errors import RunFailure, UserError, first_line
from fmlab.records.atomic import atomic_file, is_full_disk, temporary_name


def write_checkpoint(state: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """Writes a checkpoint to the disk and then under its name; the old one stays until then.

    Args:
        state: Tensors and plain values.
        path: The file, in a folder that exists.
        previous: What the old file is called from then on; left out, there is none any more.

    Raises:
        RunFailure: If there is no room for it; the old file is as it was.
    """
    try:
        with atomic_file(path) as file:
            torch.save(state, file)
            file.flush()
            if previous is not None and path.exists():
                _rename_too(path, previous)
    except (OSError, RuntimeError) as error:  # torch's writer wraps the system's error
        if not is_full_disk(error):
            raise
        state_of_file = f"{path.name} is still the old one" if path.exists() else "nothing was saved before"
        cause = f"the disk is full: a checkpoint could not be written ({state_of_file})"
        raise RunFailure(cause, key=str(path.parent)) from error


def _rename_too(path: Path, other: Path) -> None:
    """Gives a file a second name; where the file system knows no such thing, another name."""
    link = temporary_name(other)
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, other)
    else:
        os.replace(link, other)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file; None if all it holds is what was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith("data.pkl") for name in archive.namelist()):
                return "it is no checkpoint"
            broken = archive.testzip()
        step_of(path)  # torch is stricter about an archive's own entries
    except Exception as error:  # a damaged archive fails in any of many ways
        return first_line(error)
    return f"{broken} is not what was written" if broken else None


def newest_whole(files: Sequence[Path]) -> tuple[Path | None, dict[Path, str]]:
    """The whole checkpoint of the highest step, the first of equals; and the damaged ones, with causes.

    Raises:
        UserError: If some of the files exist, and all of these are damaged.
    """
    causes = {file: damage(file) for file in files if file.is_file()}
    damaged = {file: cause for file, cause in causes.items() if cause}
    whole = [file for file in causes if file not in damaged]
    if damaged and not whole:
        causes_by_name = ", ".join(f"{file.name}: {cause}" for file, cause in damaged.items())
        folder, hint = next(iter(damaged)).parent, "delete them to begin again from step 0"
        raise UserError(f"every checkpoint is damaged ({causes_by_name})", key=str(folder), hint=hint)
    return max(whole, key=step_of, default=None), damaged


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A checkpoint's contents, nothing but tensors and plain values.

    Raises:
        UserError: If the file is not there, cut short, not what was written, or no checkpoint.
    """
    if not file.is_file():
        raise UserError("there is no such checkpoint", key=str(file))
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        state = None if broken else _load(file)
    except Exception as error:
        hint = "is it cut short? try --checkpoint last"
        raise UserError(f"cannot be read: {first_line(error)}", key=str(file), hint=hint) from error
    if broken:
        cause = f"is damaged: {broken} is not what was written"
        raise UserError(cause, key=str(file), hint="try --checkpoint last, or previous")
    if not isinstance(state, dict) or "state_dict" not in state:
        raise UserError("is no checkpoint of a run", key=str(file))
    return state


def refuse_other_network(module: nn.Module, file: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses a module that the weights of a checkpoint do not fit, without reading its tensors.

    Args:
        module: The module of the resumed run.
        file: The checkpoint.
        before: The configuration of the run so far.
        now: That of the resumed run.

    Raises:
        UserError: If a weight is missing, of another shape, or one too many; what differs in `model` is named.
    """
    saved, new = _load(file, mmap=True)["state_dict"], module.state_dict()
    if saved.keys() == new.keys() and all(saved[name].shape == new[name].shape for name in new):
        return
    keys = list(differing_keys(before.get("model"), now.get("model"), "model")) or ["model"]
    cause = "the weights of the run do not fit the network that this makes"
    raise UserError(cause, key=", ".join(keys[:3]), hint="leave it out, or begin a new run")


def step_of(file: Path) -> int:
    """The optimizer step of a checkpoint, without reading its tensors."""
    return int(_load(file, mmap=True)["global_step"])


def logged_rows(file: Path) -> int:
    """How many rows the run's metrics had when a checkpoint was written, without reading its tensors."""
    return int(_load(file, mmap=True)["callbacks"]["Checkpoints"]["rows"])


def _load(file: Path, mmap: bool = False) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
