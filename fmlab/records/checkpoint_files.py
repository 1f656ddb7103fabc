"""Checkpoint files: written whole or not at all, checked when they are read, the newest whole one found.

A checkpoint is a zip archive, in which torch writes the CRC-32 of everything it holds; so `unzip -t last.ckpt` tells
too whether a file is whole. Torch itself does not look at them when it loads.
"""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fmlab.errors import RunFailure, UserError
from fmlab.records.atomic import atomic_file, is_full_disk


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
        kept = f"{path.name} is the old one still" if path.exists() else "nothing was saved before"
        raise RunFailure(
            f"the disk is full: a checkpoint could not be written ({kept})", key=str(path.parent)
        ) from error


def _rename_too(path: Path, other: Path) -> None:
    """Gives a file a second name; where the file system knows no such thing, another name."""
    link = other.with_name(f".{other.name}.{secrets.token_hex(4)}.tmp")
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
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{broken} is not what was written" if broken else None


def newest_whole(files: Sequence[Path]) -> tuple[Path | None, dict[Path, str]]:
    """The whole checkpoint of the highest step, the first of equals; and the damaged ones, with causes.

    Args:
        files: Those to look at; what is not there is left out.

    Raises:
        UserError: If there are some, and all are damaged.
    """
    there = [file for file in files if file.is_file()]
    found = {file: damage(file) for file in there}
    whole = [file for file, cause in found.items() if cause is None]
    if there and not whole:
        lines = ", ".join(f"{file.name}: {found[file]}" for file in there)
        hint = "delete them to begin again from step 0"
        raise UserError(f"every checkpoint is damaged ({lines})", key=str(there[0].parent), hint=hint)
    return max(whole, key=step_of, default=None), {file: cause for file, cause in found.items() if cause}


def step_of(file: Path) -> int:
    """The optimizer step of a checkpoint, without reading its tensors."""
    return int(torch.load(file, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def logged_rows(file: Path) -> int:
    """How many rows the run's metrics had when a checkpoint was written, without reading its tensors.

    Raises:
        UserError: If it does not say.
    """
    state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    try:
        return int(state["callbacks"]["Checkpoints"]["rows"])
    except KeyError:
        raise UserError("was written by an earlier fmlab, which did not count rows", key=str(file)) from None
