"""Words of a sweep file that YAML 1.1, which `wandb sweep` reads, takes for something else than they look like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from fmlab.errors import UserError

_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+")


def refuse_traps(file: Path) -> None:
    """Refuses the first such word, with its key and line.

    Raises:
        UserError: If there is one.
    """
    tree = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    for path, node in _scalars(tree):
        trap = None if node.style else _trap_in(node.tag.rpartition(":")[2], node.value)  # quoted words are safe
        if trap is not None:
            cause, hint = trap
            raise UserError(cause, key=f"{file}:{node.start_mark.line + 1}: {'.'.join(path)}", hint=hint)


def _trap_in(kind: str, text: str) -> tuple[str, str] | None:
    """Returns the cause and the remedy, where a scalar is a trap."""
    if kind == "str" and _EXPONENT.fullmatch(text):
        return f"{text} is a text in YAML 1.1, not a number", f"write {_with_point(text)}"
    if kind == "str" and text in ("None", "none"):
        return f"{text} is a text in YAML", "write null"
    if kind == "bool" and text.lower() not in ("true", "false"):
        value = str(text.lower() in ("yes", "on")).lower()
        return f"{text} is {value} in YAML 1.1", f'write {value}, or "{text}" in quotes for the word'
    if kind == "int" and ":" in text:
        return f"{text} is a number to base 60 in YAML 1.1", f'write "{text}" in quotes'
    return None


def _with_point(text: str) -> str:
    """Writes a number as YAML 1.1 reads it: `1.0e-4`, `1.0e+4`."""
    mantissa, exponent = text.lower().split("e")
    point = "" if "." in mantissa else ".0"
    sign = "" if exponent[0] in "+-" else "+"
    return f"{mantissa}{point}e{sign}{exponent}"


def _scalars(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            for child in (key, value):
                yield from _scalars(child, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value, path)
    elif isinstance(node, yaml.ScalarNode):
        yield path, node
