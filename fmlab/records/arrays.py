"""Arrays of an `.npz` file of unknown origin, read without pickles and without running out of memory.

A zip of a few kilobytes may hold gigabytes of zeros, and the header of an array may claim a size that is not there.
Both are looked at before anything is unpacked.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable
from typing import IO, BinaryIO

import numpy as np

LARGEST = 16 * 2**30
"""Bytes: more than 50,000 images of 256 x 256 pixels take."""
_SMALL, _RATIO = 64 * 2**20, 100
"""What a file may hold however short it is, in bytes, and how many times its own length beyond that."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(file: BinaryIO, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of these names that an `.npz` file holds; nothing else in it is read.

    Args:
        file: The file, open for reading.
        names: The names, without `.npy`.

    Raises:
        ValueError: If they are too large, are no plain arrays, or are not of the size that their header says.
        BadZipFile: If the file is no zip, or is damaged.
    """
    left = min(LARGEST, _SMALL + _RATIO * file.seek(0, os.SEEK_END))
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        for name in names:
            entry = entries.get(f"{name}.npy")
            if entry is None:
                continue
            left -= entry.file_size
            if left < 0:
                raise ValueError(f"{name} is too large")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
                raise ValueError(f"{name} is compressed in an unusual way")
            with archive.open(entry) as opened:
                _check_header(opened, entry.file_size, name)
            with archive.open(entry) as opened:
                arrays[name] = np.lib.format.read_array(opened, allow_pickle=False)
    return arrays


def _check_header(file: IO[bytes], size: int, name: str) -> None:
    """Refuses an array of another size than its header says, before NumPy makes room for it."""
    read_header = _HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError(f"{name} is of an unknown version")
    shape, _, dtype = read_header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"{name} is no plain array of the size that it claims")
