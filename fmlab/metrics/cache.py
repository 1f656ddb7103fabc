"""Files that are made once and then read: one process makes them, the others wait, and a broken one is made again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from fmlab.errors import UserError
from fmlab.records import atomic_write_bytes

T = TypeVar("T")
_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where feature networks and reference statistics are kept: $FMLAB_CACHE, or `fmlab` in the user's cache folder."""
    if chosen := os.environ.get("FMLAB_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fmlab"


def load_or_make(path: Path, load: Callable[[Path], T], make: Callable[[], bytes]) -> T:
    """What `load` reads from a cache file, which `make` fills first if it is missing or does not load.

    A lock beside the file lets one process of many make it; the file appears whole or not at all.

    Raises:
        UserError: The folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists():
                try:
                    return load(path)
                except Exception as error:  # a damaged file may fail anywhere in its reader
                    _log.warning("%s is damaged (%s: %s) and is made again", path, type(error).__name__, error)
            atomic_write_bytes(path, make())
            return load(path)
    except PermissionError as error:
        raise UserError(f"the cache folder {path.parent} cannot be written to ({error.strerror})") from error
