"""Files of named tensors (safetensors): written whole or not at all; a damaged one is refused in one line."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fmlab.errors import UserError, first_line
from fmlab.records.atomic import atomic_write_bytes


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes tensors and texts that go with them to a file in a folder that exists.

    Args:
        path: The file.
        tensors: torch's tensors on any device; those that share memory are written one by one.
        metadata: The texts.
    """
    from safetensors.torch import save

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    atomic_write_bytes(path, save(copies, dict(metadata)))


def checksum(tensors: Iterable[tuple[str, Any]]) -> str:
    """The CRC-32 of named tensors in memory, of types that numpy has; they are looked at one by one."""
    code = 0
    for name, tensor in tensors:
        code = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), zlib.crc32(name.encode(), code))
    return f"{code:08x}"


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """A file of tensors, open for `keys()`, `metadata()` and `get_tensor(name)`, which read what they are asked for.

    Raises:
        UserError: If there is no such file, or it is cut short or no safetensors file, here or while it is read.
    """
    if not path.is_file():
        raise UserError("there is no such file", key=str(path))
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {first_line(error)}", key=str(path)) from error
