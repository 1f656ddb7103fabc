"""Words of a sweep file that `wandb sweep`, which reads YAML 1.1, takes for something else than they look like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from fmlab.errors import UserError

_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+")
_STR, _BOOL, _INT = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "bool", "int"))


def find_traps(file: Path) -> None:
    """Refuses the first such word, with its key and line.

    Raises:
        UserError: If there is one.
    """
    tree = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    for path, node in _scalars(tree):
        told = _trap(node)
        if told is not None:
            cause, hint = told
            raise UserError(cause, key=f"{file}:{node.start_mark.line + 1}: {'.'.join(path)}", hint=hint)


def _trap(node: yaml.ScalarNode) -> tuple[str, str] | None:
    """Cause and remedy, where a scalar is one; what stands in quotes is meant as it stands."""
    text, plain = node.value, node.style is None
    if not plain:
        return None
    if node.tag == _STR and _EXPONENT.fullmatch(text):
        return f"{text} is a text in YAML 1.1, not a number", f"write {_dotted(text)}"
    if node.tag == _STR and text in ("None", "none"):
        return f"{text} is a text in YAML", "write null"
    if node.tag == _BOOL and text.lower() not in ("true", "false"):
        value = str(text.lower() in ("yes", "on")).lower()
        return f"{text} is {value} in YAML 1.1", f'write {value}, or "{text}" in quotes for the word'
    if node.tag == _INT and ":" in text:
        return f"{text} is a number to base 60 in YAML 1.1", f'write "{text}" in quotes'
    return None


def _dotted(text: str) -> str:
    """The number as YAML 1.1 knows it: `1.0e-4`, `1.0e+4`."""
    mantissa, exponent = text.lower().split("e")
    mantissa = mantissa if "." in mantissa else mantissa + ".0"
    sign = "" if exponent[0] in "+-" else "+"
    return f"{mantissa}e{sign}{exponent}"


def _scalars(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = (*path, str(key.value))
            yield from _scalars(key, inside)
            yield from _scalars(value, inside)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value, path)
    elif isinstance(node, yaml.ScalarNode):
        yield path, node
