"""What of another's run may be imported: this package and what it stands on, nothing else without being asked to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from fmlab.errors import UserError

TRUSTED = ("fmlab", "torch", "lightning", "timm", "diffusers")
"""The packages that a run may name."""

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def check_trusted(files: Iterable[Path]) -> None:
    """Refuses configuration files that name a class or a function outside the trusted packages; imports nothing.

    Raises:
        UserError: At the first such name, or if a file cannot be read.
    """
    for file in files:
        try:
            config = yaml.safe_load(file.read_text()) if file.is_file() else {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"cannot be read: {' '.join(str(error).split())[:120]}", key=str(file)) from error
        check_names(config, str(file))


def check_names(config: Any, where: str) -> None:
    """The same for a configuration that was read already.

    Args:
        config: Nested mappings and lists.
        where: What names it in an error.
    """
    for place, name in foreign_names(config):
        cause = f"{place} is {name}, code of somebody's own, which loading it would run"
        hint = "add --trust (in Python: trust=True) if you know whose it is"
        raise UserError(cause, key=where, hint=hint)


def foreign_names(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every class and every importable name outside the trusted packages, with its dotted key."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            inner = place if key in ("class_path", "init_args") else f"{place}.{key}".lstrip(".")
            if key == "class_path" and isinstance(value, str) and "." in value:
                if value.partition(".")[0] not in TRUSTED:
                    yield inner, value
            else:
                yield from foreign_names(value, inner)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from foreign_names(value, f"{place}[{index}]")
    elif isinstance(node, str) and _IMPORT_PATH.fullmatch(node):
        root = node.partition(".")[0]
        if root not in TRUSTED and _is_module(root):
            yield place, node


def _is_module(root: str) -> bool:
    """Whether a word, such as that before the dot of `photos.zip`, could be imported; nothing is."""
    try:
        spec = find_spec(root)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None and spec.origin is not None
