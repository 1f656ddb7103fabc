"""YAML in and out, with the scalars people expect: `1e-4` is a number, `yes` is a word, `None` is null."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

from fmlab.errors import UserError
from fmlab.records.bounded import TooLargeError, bounded_node, construct, read_text

_BOOL, _NULL = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_MERGE, _STR = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"

# The core schema of YAML 1.2, and beyond it: thousands may be grouped (400_000), and Python's own words for
# null, true and false are read as such, because sweep agents write them.
_SCALARS: tuple[tuple[str, str, str], ...] = (
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_NULL, r"~|null|Null|NULL|None|", "~nN"),
    (_INT, r"[-+]?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:_[0-9]{3})+)", "-+0123456789"),
    (
        _FLOAT,
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    (_MERGE, r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars above."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, quoting every string that either reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    for _reader in (_Loader, _Dumper):
        # The empty scalar is null; it has no first character, so PyYAML files it under "".
        _reader.add_implicit_resolver(
            _tag, re.compile(f"^(?:{_pattern})$"), [*_first, *([""] if _tag == _NULL else [])]
        )


def read_value(text: str) -> Any:
    """The value of one command-line override; text that is no YAML, and a plain word, stands for itself.

    Raises:
        UserError: If it is nested too deeply, or its aliases make it too large.
    """
    try:
        node = _compose(text)
        if isinstance(node, yaml.ScalarNode) and node.tag == _STR and node.style is None:
            return text  # YAML would end it at a " #"
        return _construct(node)
    except TooLargeError as error:
        raise UserError(str(error.problem), key=show(text)) from None
    except yaml.YAMLError:
        return text


def read_file(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: If the file is not YAML (file and line are named), is no mapping, or is too large.
    """
    return read_file_and_texts(path)[0]


def read_file_and_texts(path: Path) -> tuple[dict[str, Any], dict[tuple[str | int, ...], tuple[Any, str]]]:
    """The mapping in a YAML file; and each number, truth value and null in it with its text, by its keys."""
    text = read_text(path)
    try:
        node = _compose(text)
        content = _construct(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = " ".join((error.problem or "not valid YAML").split())
        raise UserError(problem, key=where, hint=_quote_line(path, mark.line) if mark else None) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError("is not YAML text: " + " ".join(str(error).split())[:120], key=str(path)) from error
    if content is None:
        return {}, {}
    if not isinstance(content, dict):
        raise UserError(f"expected `key: value` lines, got {show(content)}", key=str(path))
    return content, {keys: (_construct(scalar), scalar.value) for keys, scalar in _untextual_scalars(node, ())}


def _compose(text: str) -> yaml.Node | None:
    """The document's nodes, once they are known to be of bounded depth and size and without a key given twice."""
    node = bounded_node(text, _Loader)
    if node is not None:
        _check_keys(node, set())
    return node


def _construct(node: yaml.Node | None) -> Any:
    return construct(node, _Loader)


def _check_keys(node: yaml.Node, checked: set[int]) -> None:
    """Raises at a key of a mapping, however deep, that is given twice or is no word."""
    if isinstance(node, yaml.ScalarNode) or id(node) in checked:
        return
    checked.add(id(node))
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key has to be a word", problem_mark=key.start_mark)
        if key.tag != _MERGE and key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark)
        seen.add(key.value)
    for child in node.value:
        _check_keys(child[1] if isinstance(child, tuple) else child, checked)


def _untextual_scalars(
    node: yaml.Node, keys: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], yaml.ScalarNode]]:
    """Every scalar that is no text, with the keys and list indices that lead to it."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _untextual_scalars(value, (*keys, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _untextual_scalars(value, (*keys, index))
    elif node.tag != _STR:
        yield keys, node


def dump(config: Any) -> str:
    """The configuration as YAML, in the order it has."""
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def show(value: Any, limit: int = 60) -> str:
    """A value in one short line, as YAML would write it: `null`, `true`, `"abc"`, `[1, 2]`."""
    if isinstance(value, str):
        text = f'"{value}"'
    else:
        text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=10_000)
        text = " ".join(text.replace("\n...", " ").split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _quote_line(path: Path, line: int) -> str | None:
    lines = path.read_text(encoding="utf-8").splitlines()
    return f"the line reads: {lines[line].strip()}" if line < len(lines) else None
