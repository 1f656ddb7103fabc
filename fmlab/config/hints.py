"""Type hints read as a schema: which of them want a component, and whether a value fits."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import operator
import textwrap
import types
from collections.abc import Callable as AbstractCallable
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from jsonargparse import ArgumentError, ArgumentParser

from fmlab.config.values import show

_PLAIN_MODULES = ("builtins", "typing", "datetime", "pathlib", "os", "collections", "decimal", "uuid")


def members(hint: Any) -> list[Any]:
    """The alternatives of a hint, unions and annotations opened."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return [member for part in get_args(hint) for member in members(part)]
    if origin is Annotated:
        return members(get_args(hint)[0])
    if isinstance(hint, TypeVar):
        return members(hint.__bound__ or Any)
    return [type(None) if hint is None else hint]


def is_open(hint: Any) -> bool:
    """Whether a hint says nothing."""
    return hint is inspect.Parameter.empty or Any in members(hint) or object in members(hint)


def accepts_none(hint: Any) -> bool:
    return is_open(hint) or type(None) in members(hint)


def component_classes(hint: Any) -> tuple[list[type], int]:
    """The classes that a configuration may name for a hint, and how many arguments the caller itself supplies.

    `nn.Module` gives `([nn.Module], 0)`, `Callable[[Iterable], Optimizer]` gives `([Optimizer], 1)`, `int` gives none.
    """
    classes: list[type] = []
    supplied = 0
    if is_open(hint):
        return classes, supplied
    for member in members(hint):
        if get_origin(member) is AbstractCallable and get_args(member):
            taken, returned = get_args(member)
            made, _ = component_classes(returned)
            if made:
                classes += made
                supplied = len(taken) if isinstance(taken, list) else 0
        elif is_component_class(origin := get_origin(member) or member):
            classes.append(origin)
    return classes, supplied


def is_component_class(hint: Any) -> bool:
    """Whether a hint is a class of parts, not of plain values."""
    if not inspect.isclass(hint) or dataclass_in(hint) or issubclass(hint, (Enum, PurePath, type)):
        return False
    if hint.__module__.split(".")[0] in _PLAIN_MODULES:
        return False
    return not (hint.__module__ == "torch" and hint.__name__ in ("device", "dtype", "Tensor", "Generator"))


def dataclass_in(hint: Any) -> type | None:
    """The dataclass among the alternatives of a hint, whose fields are keys of their own."""
    found = [member for member in members(hint) if inspect.isclass(member) and dataclasses.is_dataclass(member)]
    return found[0] if found else None


def item_hint(hint: Any, value: Any) -> Any:
    """For a list or mapping, the hint of its items where they may be components; otherwise None."""
    for member in members(hint):
        origin = get_origin(member)
        is_collection = inspect.isclass(origin) and issubclass(origin, Iterable)
        if is_collection and issubclass(origin, Mapping) == isinstance(value, dict):
            arguments = [part for part in get_args(member) if part is not Ellipsis]
            if arguments and component_classes(arguments[-1])[0]:
                return arguments[-1]
    return None


def without_components(hint: Any) -> Any:
    """The plain alternatives of a hint, or None if there are none but null."""
    plain = [m for m in members(hint) if m is not type(None) and not component_classes(m)[0]]
    return functools.reduce(operator.or_, plain) if plain else None


def fit(hint: Any, value: Any) -> tuple[bool, Any]:
    """Whether jsonargparse takes `value` for `hint`, and the value to keep.

    A number where a text is wanted is the text (`--run.name=7`); apart from that the value stays as it is.
    """
    if is_open(hint) or (value is None and accepts_none(hint)):
        return True, value
    if value is None:
        return False, value
    if _parses(hint, value):
        return True, value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _parses(hint, str(value)):
        return True, str(value)
    if isinstance(value, list) and _parses(hint, texts := [str(v) if type(v) in (int, float) else v for v in value]):
        return True, texts
    return False, value


def mismatch(hint: Any, value: Any) -> str:
    """`expected int, got "abc"`."""
    return f"expected {textwrap.shorten(describe(hint), 100, placeholder=' ...')}, got {show(value)}"


def describe(hint: Any) -> str:
    """A hint in words."""
    if is_open(hint):
        return "anything"
    described = [_describe(member) for member in members(hint) if get_origin(member) is not Literal]
    words = dict.fromkeys(str(word) for m in members(hint) if get_origin(m) is Literal for word in get_args(m))
    listed = [f"one of {', '.join(words)}"] if len(words) > 1 else list(words)
    return " or ".join(dict.fromkeys([*listed, *described]))


def words_of(hint: Any) -> list[str]:
    """The words a hint lists in full."""
    literals = [word for member in members(hint) if get_origin(member) is Literal for word in get_args(member)]
    enums = [member for member in members(hint) if _is_enum(member)]
    names = [name for enum in enums for name in enum.__members__]
    return list(dict.fromkeys([word for word in literals if isinstance(word, str)] + names))


def _describe(member: Any) -> str:
    origin, arguments = get_origin(member), get_args(member)
    if member is type(None):
        return "null"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a mapping"
    if origin is tuple and Ellipsis not in arguments:
        return "[" + ", ".join(describe(part) for part in arguments) + "]"
    if inspect.isclass(origin) and issubclass(origin, Iterable):
        return "a list of " + describe(arguments[0])
    if origin is AbstractCallable:
        made, _ = component_classes(member)
        return " or ".join(cls.__name__ for cls in made) or "a function"
    if _is_enum(member):
        return " or ".join(member.__members__)
    return getattr(origin or member, "__name__", str(member))


def _is_enum(member: Any) -> bool:
    return get_origin(member) is None and inspect.isclass(member) and issubclass(member, Enum)


def _parses(hint: Any, value: Any) -> bool:
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=hint)
    except ValueError:  # jsonargparse knows nothing of the hint, so it will not look at the value either
        return True
    try:
        parser.parse_object({"value": copy.deepcopy(value)})  # it converts the items of lists in place
    except (ArgumentError, TypeError, ValueError):
        return False
    return True
