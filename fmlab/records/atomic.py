"""Files that are either the old ones or the new ones, never half of each, whenever the process is killed.

Nothing is written through a link. A file that is a link is replaced, and a folder of a run that is a link is refused:
the run may be another's, and its links lead wherever he likes.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fmlab.errors import UserError

PRIVATE = 0o600
"""The permissions of a file that only its owner may read."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room, none left of a quota, more than a file may have
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has no such flag
_TEMPORARY = re.compile(r"\..+\.fmlab-[0-9a-f]{16}\.tmp")
_FOLDERS = {
    *("checkpoints", "samples", "files", "starts", "power_ema", "evaluations", "diagnosis"),
    *("validate", "tensorboard", "wandb"),
}
"""The folders of a run that fmlab writes to."""


@contextlib.contextmanager
def atomic_file(path: Path, sync: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write, beside its place; at the end it goes to the disk and then under its name, or away on an error.

    What the process was killed in the middle of stays behind as a hidden file; `torn_files` finds it.

    Args:
        path: The file.
        sync: Whether it goes to the disk before it gets its name; pictures that can be made again need not.
        mode: Its permissions, less what the user's umask takes away; `PRIVATE` for what may hold credentials.

    Raises:
        UserError: If the file would be written through a link in a run's folder.
    """
    refuse_links(path)
    temporary = temporary_name(path)
    # os.open, not tempfile: the file gets the permissions that the user's umask gives to new files.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    if sync:
        _sync_folder(path.parent)


def atomic_write_bytes(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Writes a file whole: beside its place first, to the disk, then under its name."""
    with atomic_file(path, mode=mode) as file:
        file.write(data)


def atomic_write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """The same for text, in UTF-8."""
    atomic_write_bytes(path, text.encode("utf-8"), mode)


def atomic_write_json(path: Path, content: Any) -> None:
    """The same for anything JSON knows; what it does not know is written as its `str`."""
    atomic_write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def append(path: Path, data: bytes, sync: bool = False) -> None:
    """Adds to the end of a file in one write, so that a kill leaves at most an unfinished end.

    Args:
        path: The file; it is made if it is not there.
        data: What to add.
        sync: Whether it is to be on the disk when this returns.

    Raises:
        UserError: If the file is a link, or lies behind one in a run's folder.
    """
    refuse_links(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link(path) from error
        raise
    try:
        if os.write(descriptor, data) < len(data):  # a disk that fills up while it is written to
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, where they are not there.

    Raises:
        UserError: If it would be made behind a link in a run's folder.
    """
    refuse_links(folder / "file")
    folder.mkdir(parents=True, exist_ok=True)


def refuse_links(path: Path) -> None:
    """Refuses a file that lies behind a link in the folder of a run, or of an exported file's samples.

    Raises:
        UserError: If there is such a link. One above the run is the user's own and no matter.
    """
    folders = Path(os.path.abspath(path)).parents
    for index, folder in enumerate(folders):
        if folder.is_symlink() and any(
            below.name in _FOLDERS and _is_record(above) for below, above in zip(folders[index:], folders[index + 1 :])
        ):
            raise _link(folder)


def refuse_existing(path: Path, key: str, overwrite: bool = False) -> None:
    """Refuses to replace a file that is there already, unless it was asked to.

    Raises:
        UserError: If there is something of this name, a broken link included.
    """
    if not overwrite and os.path.lexists(path):
        hint = "choose another name, or add --overwrite (in Python: overwrite=True)"
        raise UserError(f"{path} is there already", key=key, hint=hint)


def free_name(path: Path) -> Path:
    """The path, or with a number the first name like it that is not taken: `page-2.html`."""
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def temporary_name(path: Path) -> Path:
    """A new name beside a file, which nobody can foresee."""
    return path.with_name(f".{path.name}.fmlab-{secrets.token_hex(8)}.tmp")


def torn_files(folder: Path) -> list[Path]:
    """The files of a folder that a killed process left half written: fmlab's own, by their names, and no links."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [
            Path(entry)
            for entry in entries
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        ]


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error says, or was raised while handling one that says, that there is no room for more."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # contexts may form a ring
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def _is_record(folder: Path) -> bool:
    """Whether a folder holds a run, or what was made from an exported file beside it."""
    return (folder / "config.yaml").is_file() or folder.with_name(f"{folder.name}.safetensors").is_file()


def _link(path: Path) -> UserError:
    return UserError("is a link, and nothing is written through a link in a run", key=str(path), hint="remove the link")


def _sync_folder(folder: Path) -> None:
    """Makes the new name durable, where the file system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
