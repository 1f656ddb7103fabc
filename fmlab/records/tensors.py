"""Files of named tensors (safetensors): written whole or not at all; a damaged one is refused in one line."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fmlab.errors import UserError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and words to a file: beside its place first, then under its name.

    Args:
        path: The file, in a folder that exists.
        tensors: On any device; those that share memory are written one by one.
        metadata: Words to go with them.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        part.touch()
        mode = part.stat().st_mode  # what the user's umask gives to new files; safetensors makes private ones
        copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(copies, part, dict(metadata))
        part.chmod(mode)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        raise


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
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot be read: {cause}", key=str(path)) from error
