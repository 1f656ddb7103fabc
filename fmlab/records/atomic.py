"""Files that are either the old ones or the new ones, never half of each, whenever the process is killed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room, none left of a quota, more than a file may have


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, beside its place; at the end it goes to the disk and then under its name, or away on an error.

    What the process was killed in the middle of stays behind as a hidden file, `.name.*.tmp`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    # os.open, not tempfile: the file gets the permissions that the user's umask gives to new files.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Writes a file whole: beside its place first, to the disk, then under its name."""
    with atomic_file(path) as file:
        file.write(data)


def atomic_write_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: Path, content: Any) -> None:
    """The same for anything JSON knows; what it does not know is written as its `str`."""
    atomic_write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error says, or was raised while handling one that says, that there is no room for more."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # contexts may form a ring
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def _sync_folder(folder: Path) -> None:
    """Makes the new name durable, where the file system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
