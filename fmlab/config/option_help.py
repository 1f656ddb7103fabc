"""The help of a verb, from its dataclass: the docstring is the text, its `Args:` explain the options."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from fmlab.config.option_values import is_list, literals, members
from fmlab.config.options import Component, OptionField, option_fields


def describe_options(options: type, command: str) -> str:
    """Usage, summary and options of a verb.

    Args:
        options: The dataclass.
        command: The verb, with its sub-verb if it has one.
    """
    fields = sorted(option_fields(options), key=lambda item: _rank(item, options))
    usage = " ".join(["fmlab", command, *(_usage(item) for item in fields if item.positional or _is_needed(item))])
    usage += " [--config FILE ...] [--KEY=VALUE ...]" if any(item.overrides for item in fields) else ""
    rows = [_row(item) for item in fields]
    return f"usage: {usage} [options]\n\n{summary(options)}\n\n{table(rows)}"


def summary(documented: type) -> str:
    """A docstring up to its `Args:`."""
    text = inspect.cleandoc(documented.__doc__ or "")
    return re.split(r"\n\s*(?:Args|Attributes|Raises):\n", text, maxsplit=1)[0].strip()


def documented_arguments(docstring: str) -> Iterator[tuple[str, str]]:
    """(name, text) of the entries of a Google-style `Args:` block, each text in one line."""
    block = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)*)", inspect.cleandoc(docstring), re.MULTILINE)
    if block is None:
        return
    for entry in re.split(r"\n(?= {4}\S)", "\n" + block.group(1).rstrip()):
        name, colon, text = entry.strip().partition(":")
        if colon and re.fullmatch(r"\*{0,2}\w+(?: \(.*\))?", name):
            yield name.split(" ")[0].lstrip("*"), " ".join(text.split())


def table(rows: list[tuple[str, str]], indent: str = "  ") -> str:
    """Two columns, the second one wrapped to the terminal."""
    if not rows:
        return f"{indent}none"
    width = min(max(len(name) for name, _ in rows), 32)
    columns = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    lines = []
    for name, about in rows:
        text = textwrap.wrap(about, columns - width - len(indent) - 2) or [""]
        if len(name) > width:
            lines.append(f"{indent}{name}")
            name = ""
        lines.append(f"{indent}{name:{width}}  {text[0]}".rstrip())
        lines += [f"{indent}{'':{width}}  {line}" for line in text[1:]]
    return "\n".join(lines)


def _rank(item: OptionField, options: type) -> int:
    """Positionals come first, then the verb's own options, then those that it shares with other verbs."""
    return 0 if item.positional else 1 if item.path[0] in inspect.get_annotations(options) else 2


def _row(item: OptionField) -> tuple[str, str]:
    """An option and what it does."""
    texts = {name: text for base in reversed(item.owner.__mro__) for name, text in _texts(base)}
    text = texts.get(item.path[-1], "")
    text = text if text.endswith("...") else text.rstrip(".")
    text += f" ({shown})" if (shown := _shown_default(item)) else ""
    return _label(item), text


def _texts(base: type) -> Iterator[tuple[str, str]]:
    # A dataclass without a docstring gets its signature as one.
    yield from documented_arguments(base.__dict__.get("__doc__") or "")


def _label(item: OptionField) -> str:
    if item.overrides:
        return "--KEY=VALUE"
    if item.positional:
        return item.positional
    if item.hint is bool:
        return f"--{item.name}"
    dotted = ".NAME" if item.is_open else ""
    return f"--{item.name}{dotted} {_value(item.hint)}"


def _value(hint: Any) -> str:
    """What stands for a value: `N`, `X,X`, `N,...`, `best|last`."""
    if hint is Component:
        return "CLASS"
    plain = [member for member in members(hint) if member is not type(None)]
    if len(plain) > 1:
        return "|".join(map(_value, plain))
    first = plain[0]
    if get_origin(first) is Annotated:
        return _value(get_args(first)[0])
    if choices := literals(first):
        return "|".join(map(str, choices))
    if is_list(first):
        items = get_args(first)
        return f"{_value(items[0])},..." if Ellipsis in items else ",".join(map(_value, items))
    return {int: "N", float: "X", Path: "FILE"}.get(first, "VALUE")


def _shown_default(item: OptionField) -> str:
    """The default in short; nothing where it says nothing."""
    if item.default is MISSING or item.overrides or item.is_open:
        return ""
    values = item.default if isinstance(item.default, tuple) else (item.default,)
    return ",".join(_shown_value(value) for value in values)


def _shown_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, Component):
        return value.name or ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_needed(item: OptionField) -> bool:
    return item.default is MISSING and not item.overrides


def _usage(item: OptionField) -> str:
    label = _label(item) + (" ..." if item.positional and is_list(item.hint) else "")
    return label if _is_needed(item) else f"[{label}]"
