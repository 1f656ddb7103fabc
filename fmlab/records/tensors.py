"""Files of named tensors (safetensors): written whole or not at all; a damaged one is refused in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
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
