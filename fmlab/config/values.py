"""YAML in and out, with the scalars people expect: `1e-4` is a number, `yes` is a word, `None` is null."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from fmlab.errors import UserError

_BOOL, _NULL = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"

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
    """PyYAML's safe loader with the scalars above, and no key given twice."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != _MERGE and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, quoting every string that either reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _register() -> None:
    for tag, pattern, first in _SCALARS:
        # The empty scalar is null; it has no first character, so PyYAML files it under "".
        firsts = [*first, ""] if tag == _NULL else list(first)
        _Loader.add_implicit_resolver(tag, re.compile(f"^(?:{pattern})$"), firsts)
        _Dumper.add_implicit_resolver(tag, re.compile(f"^(?:{pattern})$"), firsts)


_register()


def read_value(text: str) -> Any:
    """The value of one command-line override; text that is no YAML stands for itself."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def read_file(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: If the file is not YAML (file and line are named) or is no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = " ".join((error.problem or "not valid YAML").split())
        raise UserError(problem, key=where, hint=_quote_line(path, mark.line) if mark else None) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError("is not YAML text: " + " ".join(str(error).split()), key=str(path)) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"expected `key: value` lines, got {show(content)}", key=str(path))
    return content


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
