"""Words of a sweep file that YAML 1.1, which `wandb sweep` reads, takes for something else than they look like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fmlab.errors import UserError


def refuse_traps(file: Path, content: dict[str, Any]) -> None:
    """Refuses the first word that YAML 1.1 does not read as `content` has it.

    Raises:
        UserError: If there is one; its key is where it stands.
    """
    try:
        other = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"W&B cannot read the file: {' '.join(str(error).split())[:120]}") from error
    for keys, old, new in _differences(other, content, ()):
        key, written = ".".join(keys), yaml.safe_dump(new if isinstance(old, str) else old).split()[0]
        if isinstance(old, str):
            raise UserError(f"{old} is a text in YAML 1.1, which W&B reads", key=key, hint=f"write {written}")
        hint = f'write {written}, or "{new}" in quotes for the word'
        raise UserError(f"{new} is {written} in YAML 1.1, which W&B reads", key=key, hint=hint)


def _differences(old: Any, new: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two readings of one text differ: the keys, and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for (old_key, old_value), (new_key, new_value) in zip(old.items(), new.items()):
            for pair in ((old_key, new_key), (old_value, new_value)):
                yield from _differences(*pair, (*keys, str(new_key)))
    elif isinstance(old, list) and isinstance(new, list):
        for pair in zip(old, new):
            yield from _differences(*pair, keys)
    elif type(old) is not type(new) or repr(old) != repr(new):
        yield keys, old, new
