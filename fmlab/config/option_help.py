"""The help of a verb, from its dataclass: the docstring is the text, its `Args:` explain the options."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from fmlab.config.hints import bare, literals_of, members
from fmlab.config.options import Component, OptionField, Overrides, Typed, is_list, option_fields


def describe_options(options: type, command: str) -> str:
    """Usage, summary and options of a verb: positionals, then its own options, then those that verbs share."""
    own_fields = inspect.get_annotations(options)
    fields = [item for item in option_fields(options) if item.marker is not Typed]
    fields.sort(key=lambda item: 0 if item.positional else 1 if item.field in own_fields else 2)
    texts = {name: text for base in reversed(options.__mro__) for name, text in documented_arguments(base.__doc__)}
    usage = ["fmlab", command, *(_usage(item) for item in fields if item.positional or item.is_needed)]
    usage += ["[--config FILE ...] [--KEY=VALUE ...]"] if any(item.marker is Overrides for item in fields) else []
    rows = [(_label(item), _about(texts.get(item.field, ""), item)) for item in fields]
    return f"usage: {' '.join(usage)} [options]\n\n{summary(options.__doc__)}\n\n{table(rows)}"


def summary(docstring: str | None) -> str:
    """A docstring up to its `Args:`."""
    text = inspect.cleandoc(docstring or "")
    return re.split(r"\n\s*(?:Args|Attributes|Raises):\n", text, maxsplit=1)[0].strip()


def documented_arguments(docstring: str | None) -> Iterator[tuple[str, str]]:
    """(name, text) of the entries of a Google-style `Args:` block, each text in one line."""
    text = inspect.cleandoc(docstring or "")
    block = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)*)", text, re.MULTILINE)
    for entry in re.split(r"\n(?= {4}\S)", "\n" + block.group(1).rstrip()) if block else ():
        name, colon, about = entry.strip().partition(":")
        if colon and re.fullmatch(r"\*{0,2}\w+(?: \(.*\))?", name):
            yield name.split(" ")[0].lstrip("*"), " ".join(about.split())


def table(rows: list[tuple[str, str]]) -> str:
    """Two columns, the second one wrapped to the terminal."""
    width = min(max((len(name) for name, _ in rows), default=0), 32)
    columns = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    lines = []
    for name, about in rows:
        text = textwrap.wrap(about, columns - width - 4) or [""]
        if len(name) > width:
            lines.append(f"  {name}")
            name = ""
        lines.append(f"  {name:{width}}  {text[0]}".rstrip())
        lines += [f"  {'':{width}}  {line}" for line in text[1:]]
    return "\n".join(lines)


def _about(text: str, item: OptionField) -> str:
    """What an option does, and its default where that says something."""
    values = item.default if isinstance(item.default, tuple) else (item.default,)
    default = "" if item.is_needed or item.is_open or item.marker is Overrides else ",".join(map(_shown, values))
    text = text if text.endswith("...") else text.rstrip(".")
    return f"{text} ({default})" if default else text


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, Component):
        return value.name or ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _label(item: OptionField) -> str:
    if item.marker is Overrides:
        return "--KEY=VALUE"
    if item.positional:
        return item.positional
    if item.hint is bool:
        return f"--{item.name}"
    return f"--{item.name}{'.NAME' if item.is_open else ''} {_value(item.hint)}"


def _value(hint: Any) -> str:
    """What stands for a value: `N`, `X,X`, `N,...`, `best|last`."""
    plain = [bare(member) for member in members(hint) if member is not type(None)]
    if len(plain) > 1:
        return "|".join(map(_value, plain))
    if choices := literals_of(plain[0]):
        return "|".join(choices)
    if is_list(plain[0]):
        items = get_args(plain[0])
        return f"{_value(items[0])},..." if Ellipsis in items else ",".join(map(_value, items))
    return {Component: "CLASS", int: "N", float: "X", Path: "FILE"}.get(plain[0], "VALUE")


def _usage(item: OptionField) -> str:
    label = _label(item) + (" ..." if item.positional and is_list(item.hint) else "")
    return label if item.is_needed else f"[{label}]"
