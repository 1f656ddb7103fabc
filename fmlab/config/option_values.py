"""The value of an option: a text read as a type, and a type in words."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from fmlab.config.values import show
from fmlab.errors import UserError, nearest

NULL = ("null", "None", "~")
"""What an option may be set to so that it is left out, as sweeps do."""


def convert(name: str, text: str, hint: Any) -> Any:
    """A text as a value of a type.

    Args:
        name: The option, for messages.
        text: What was typed.
        hint: The type, with ranges.

    Raises:
        UserError: If it is no such value.
    """
    from pydantic import TypeAdapter, ValidationError

    plain = [member for member in members(hint) if member is not type(None)]
    if text in NULL and len(plain) < len(members(hint)):
        return None
    value: Any = text
    if any(is_list(member) for member in plain):
        value = split_list(name, text)
        if any(Ellipsis in get_args(member) for member in plain):
            value = list(dict.fromkeys(value))
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError:
        choices = [str(choice) for member in plain for choice in literals(member)]
        hint_line = nearest(text, choices) if choices else None
        raise UserError(f"expected {describe_type(hint)}, got {show(text)}", key=name, hint=hint_line) from None


def split_list(name: str, text: str) -> list[str]:
    """`Euler,Heun` or `[0.1, 0.9]` as a list; commas within brackets separate nothing.

    Raises:
        UserError: If nothing stands between two commas.
    """
    bare = text.strip()
    bare = bare[1:-1] if re.fullmatch(r"\[[^\[\]]*\]|\([^()]*\)", bare) else bare
    items = [item.strip() for item in re.split(r",(?![^\[({]*[\])}])", bare)]
    if not all(items):
        raise UserError(f"cannot read {text!r}", key=name, hint="write one value, or several with commas")
    return items


def members(hint: Any) -> list[Any]:
    """The alternatives of a union; else the hint alone."""
    if get_origin(hint) in (Union, types.UnionType):
        return [member for part in get_args(hint) for member in members(part)]
    return [hint]


def literals(hint: Any) -> tuple[Any, ...]:
    """The values of a `Literal`."""
    return get_args(hint) if str(get_origin(hint)) == "typing.Literal" else ()


def describe_type(hint: Any) -> str:
    """A type in words: `a whole number of at least 1`."""
    plain = [member for member in members(hint) if member is not type(None)]
    if len(plain) > 1:
        return " or ".join(describe_type(member) for member in plain)
    member = plain[0]
    if get_origin(member) is Annotated:
        base, *ranges = get_args(member)
        finite = any("isfinite" in str(limit) for limit in ranges)
        text = "a finite number" if finite else describe_type(base)
        limits = " and ".join(phrase for limit in ranges for phrase in _describe_range(limit))
        return f"{text} {limits}".rstrip()
    if choices := literals(member):
        return "one of " + ", ".join(map(str, choices)) if len(choices) > 2 else " or ".join(map(str, choices))
    if is_list(member):
        items = get_args(member)
        item = describe_type(items[0])
        return (
            f"{item}, or several with commas" if Ellipsis in items else f"{len(items)} values with commas, each {item}"
        )
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(member, "a path")


def _describe_range(limit: Any) -> Iterator[str]:
    """`of at least 1`."""
    phrases = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    for name, phrase in phrases.items():
        if getattr(limit, name, None) is not None:
            yield f"{phrase} {getattr(limit, name):g}"


def is_list(hint: Any) -> bool:
    """Whether a type takes a list with commas."""
    return get_origin(hint) is tuple
