"""The image files in a folder or in a zip: which there are, what is left out and why, and how they are read."""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fmlab.data.decoding import decode, readable
from fmlab.errors import UserError, first_line

_IMAGES_A_TASK = 64
_LARGEST = 256 * 2**20
"""No image file is larger; an entry of a zip may claim gigabytes of zeros."""

Entry = tuple[str, str | None]
"""The path of a file, and why it is left out; None if it is not."""


class ImageFiles:
    """The image files under a folder or in a zip, named by their path within it, with forward slashes.

    Links are followed. It can be pickled and forked: every process opens the zip for itself.

    Attributes:
        names: The images, sorted.
        left_out: The other files by the reason for which they are left out.

    Args:
        path: A folder or a zip.

    Raises:
        UserError: When it is neither, or the zip is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._zips: dict[int, zipfile.ZipFile] = {}
        self._lock = threading.Lock()
        self._entries: dict[str, str] = {}  # the name of a zip's entry as the zip writes it
        self.names: list[str] = []
        self.left_out: dict[str, list[str]] = {}
        if self.path.is_dir():
            entries: Iterable[Entry] = _walk(str(self.path), "", ())
        elif zipfile.is_zipfile(self.path):
            entries = self._zip_entries()
        else:
            problem = "is neither a folder nor a zip" if self.path.exists() else "does not exist"
            raise UserError(f"'{self.path}' {problem}", key="data.path", hint=f"you are in {Path.cwd()}")
        for name, reason in sorted(entries, key=lambda entry: entry[0]):
            reason = reason or _reason(name)
            if reason:
                self.left_out.setdefault(reason, []).append(name)
            else:
                self.names.append(name)

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            ValueError: If it is larger than any image file.
        """
        if self.path.is_dir():
            with (self.path / name).open("rb") as file:
                content = file.read(_LARGEST + 1)
        else:
            with self._zip().open(self._entries[name]) as entry:
                content = entry.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST // 2**20} MiB")
        return content

    def identity(self, name: str) -> str:
        """What distinguishes a file from another under its name, without reading it: its size, in a zip its CRC too."""
        if self.path.is_dir():
            return str((self.path / name).stat().st_size)
        info = self._zip().getinfo(self._entries[name])
        return f"{info.file_size} {info.CRC:08x}"

    def decode(self, name: str, channels: int, size: int) -> np.ndarray:
        """One image as uint8 (channels, size, size); see `fmlab.data.decoding.decode`.

        Raises:
            UserError: When the file is damaged.
        """
        try:
            return decode(self.read(name), channels, size)
        except Exception as error:  # decoders fail in any of many ways
            cause = f"cannot read the image '{name}' in '{self.path}' ({first_line(error)})"
            raise UserError(cause, key="data.path", hint="--data.skip_bad 1 leaves it out") from error

    def decode_all(self, names: Sequence[str], channels: int, size: int, skip: int = 0) -> tuple[Tensor, list[str]]:
        """Many images as uint8 (N, channels, size, size), decoded by as many threads as there are processors.

        Args:
            names: Which.
            channels: 1 for grey, 3 for colour.
            size: The side of each.
            skip: How many damaged files are left out before it is an error.

        Returns:
            The images, and the names of those that were left out.

        Raises:
            UserError: When more files than `skip` are damaged.
        """
        images = np.empty((len(names), channels, size, size), dtype=np.uint8)

        def store(row: int) -> None:
            images[row] = self.decode(names[row], channels, size)

        damaged = _in_threads(store, len(names), skip)
        intact = np.delete(images, damaged, axis=0) if damaged else images
        return torch.from_numpy(intact), [names[row] for row in damaged]

    def find_damaged(self, names: Sequence[str], channels: int, size: int, skip: int) -> list[str]:
        """The names of the damaged files, found by decoding all.

        Raises:
            UserError: When there are more than `skip`.
        """
        rows = _in_threads(lambda row: self.decode(names[row], channels, size), len(names), skip)
        return [names[row] for row in rows]

    def _zip_entries(self) -> Iterator[Entry]:
        for info in self._zip().infolist():
            raw = info.filename
            if _leaves_folder(raw):  # nothing is unpacked here, but such a zip may be an attack
                raise UserError(f"'{self.path}' holds '{raw}', a path that leaves its folder", key="data.path")
            name = "/".join(part for part in raw.replace("\\", "/").split("/") if part not in ("", "."))
            if info.is_dir() or raw.endswith("\\"):
                continue
            link = stat.S_ISLNK(info.external_attr >> 16)
            yield name, "links in the zip" if link else "second of the name" if name in self._entries else None
            self._entries.setdefault(name, raw)

    def _zip(self) -> zipfile.ZipFile:
        with self._lock:
            if os.getpid() not in self._zips:
                # A process that shares its parent's open file would share the position in it too.
                try:
                    self._zips = {os.getpid(): zipfile.ZipFile(self.path)}
                except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
                    raise UserError(f"'{self.path}' is a damaged zip ({error})", key="data.path") from error
            return self._zips[os.getpid()]

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name not in ("_zips", "_lock")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, _zips={}, _lock=threading.Lock())


def _walk(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
    """The files under a folder; links are followed, but not back into a folder that leads here."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        yield prefix, "links that lead in a circle"
        return
    with os.scandir(folder) as scan:
        entries = list(scan)
    for entry in entries:
        name = f"{prefix}/{entry.name}" if prefix else entry.name
        if _is_hidden(entry.name):
            yield name, "hidden"
        elif entry.is_dir():
            try:
                yield from _walk(entry.path, name, (*above, here))
            except PermissionError:
                yield name, "folders that may not be read"
        elif entry.is_file():
            yield name, None
        else:
            yield name, "broken links" if entry.is_symlink() else "no files"


def _in_threads(task: Callable[[int], object], count: int, skip: int) -> list[int]:
    """Calls a task for each row; returns the rows, at most `skip`, in which it raised a UserError."""
    failed: list[int] = []

    def some(start: int) -> None:
        for row in range(start, min(start + _IMAGES_A_TASK, count)):
            try:
                task(row)
            except UserError as error:
                failed.append(row)
                if len(failed) > skip:
                    cause = f"{error.message}; more than data.skip_bad ({skip}) are damaged" if skip else error.message
                    raise UserError(cause, key=error.key, hint=None if skip else error.hint) from error

    with ThreadPoolExecutor(processors()) as threads:
        # Taking the results raises the first error; the tasks not yet begun are then dropped.
        tasks = [threads.submit(some, start) for start in range(0, count, _IMAGES_A_TASK)]
        try:
            for one in tasks:
                one.result()
        finally:
            threads.shutdown(cancel_futures=True)
    return sorted(failed)


def _leaves_folder(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _reason(name: str) -> str | None:
    """Why a file is left out by its name."""
    if any(map(_is_hidden, name.split("/"))):
        return "hidden"
    suffix = os.path.splitext(name)[1].lower()
    return None if suffix in readable()[1] else f"{suffix} files" if suffix else "files without a suffix"


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
