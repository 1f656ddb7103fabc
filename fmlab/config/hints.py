"""Type hints read as a schema: which of them want a component, and whether a plain value fits (by pydantic)."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import textwrap
import types
from collections.abc import Callable as AbstractCallable
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from fmlab.config.values import show

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_PLAIN_MODULES = ("builtins", "typing", "datetime", "pathlib", "os", "collections", "decimal", "uuid")
_NO_COMPONENTS = ("device", "dtype", "Tensor", "Generator")


def members(hint: Any) -> list[Any]:
    """The alternatives of a hint; an annotated one stays as it is, since its bounds are part of it."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return [member for part in get_args(hint) for member in members(part)]
    if isinstance(hint, TypeVar):
        return members(hint.__bound__ or Any)
    return [type(None) if hint is None else hint]


def bare(member: Any) -> Any:
    """A hint without its annotations: `int` of `Annotated[int, Ge(1)]`."""
    return bare(get_args(member)[0]) if get_origin(member) is Annotated else member


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
    for member in [] if is_open(hint) else map(bare, members(hint)):
        if get_origin(member) is AbstractCallable and get_args(member):
            taken, returned = get_args(member)
            products, _ = component_classes(returned)
            if products:
                classes += products
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
    return not (hint.__module__ == "torch" and hint.__name__ in _NO_COMPONENTS)


def dataclass_in(hint: Any) -> type | None:
    """The dataclass among the alternatives of a hint, whose fields are keys of their own."""
    classes = [member for member in members(hint) if inspect.isclass(member) and dataclasses.is_dataclass(member)]
    return classes[0] if classes else None


def named_bases(hint: Any) -> list[type]:
    """The classes of which a hint wants a subclass itself: `[Engine]` of `type[Engine]`."""
    return [get_args(member)[0] for member in members(hint) if get_origin(member) is type]


def wants_function(hint: Any) -> bool:
    """Whether a function may stand there."""
    return not is_open(hint) and any(AbstractCallable in (member, get_origin(member)) for member in members(hint))


def collection_of(hint: Any, value: Any) -> tuple[type, Any] | None:
    """For a list or mapping, its type and its items' hint where these may be components; otherwise None."""
    for member in map(bare, members(hint)):
        origin = get_origin(member)
        is_collection = inspect.isclass(origin) and issubclass(origin, Iterable)
        if is_collection and issubclass(origin, Mapping) == isinstance(value, dict):
            arguments = [part for part in get_args(member) if part is not Ellipsis]
            if arguments and component_classes(arguments[-1])[0]:
                return origin if origin in (tuple, set, frozenset) else type(value), arguments[-1]
    return None


def without_components(hint: Any) -> Any:
    """The plain alternatives of a hint, or None if there are none but null."""
    plain = [m for m in members(hint) if m is not type(None) and not component_classes(m)[0]]
    return functools.reduce(lambda one, other: Union[one, other], plain) if plain else None  # noqa: UP007


class Mismatch(Exception):
    """A value that does not fit its hint; the text says in one line what was expected."""


def fit(hint: Any, value: Any) -> Any:
    """A plain value as its hint wants it: a list as a tuple, a word as an enum's member, an int as a float.

    Raises:
        Mismatch: If it does not fit.
    """
    from pydantic import PydanticUserError, ValidationError  # takes a tenth of a second

    if is_open(hint):
        return copy.deepcopy(value)
    try:
        return _adapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        bound = next((one for one in error.errors() if one["type"] in _BOUNDS), None)
        if bound is None:
            raise Mismatch(mismatch(hint, value)) from None
        raise Mismatch(f"{_BOUNDS[bound['type']].format(**bound.get('ctx', {}))}, got {show(value)}") from None
    except PydanticUserError:  # pydantic does not know such a type, so its constructor has to check the value
        return copy.deepcopy(value)


def mismatch(hint: Any, value: Any) -> str:
    """`expected int, got "abc"`."""
    return f"expected {textwrap.shorten(describe(hint), 100, placeholder=' ...')}, got {show(value)}"


_BOUNDS: Mapping[str, str] = {
    "greater_than": "has to be above {gt}",
    "greater_than_equal": "has to be at least {ge}",
    "less_than": "has to be below {lt}",
    "less_than_equal": "has to be at most {le}",
    "multiple_of": "has to be a multiple of {multiple_of}",
    "finite_number": "has to be finite",
    "predicate_failed": "has to be finite",  # the one predicate in use is math.isfinite
    "too_short": "needs at least {min_length} entries",
    "too_long": "takes at most {max_length} entries",
}
"""What is said of a value of the right type that breaks a bound of an annotated hint, by pydantic's error type."""


@functools.lru_cache(1000)
def _adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def describe(hint: Any) -> str:
    """A hint in words."""
    if is_open(hint):
        return "anything"
    alternatives = list(map(bare, members(hint)))
    described = [_describe(member) for member in alternatives if get_origin(member) is not Literal]
    literals = dict.fromkeys(str(word) for m in alternatives if get_origin(m) is Literal for word in get_args(m))
    listed = [f"one of {', '.join(literals)}"] if len(literals) > 1 else list(literals)
    return " or ".join(dict.fromkeys([*listed, *described]))


def literals_of(hint: Any) -> list[str]:
    """The words a hint lists in full."""
    literals = [word for member in members(hint) if get_origin(member) is Literal for word in get_args(member)]
    values = [one.value for member in members(hint) if _is_enum(member) for one in member]
    return list(dict.fromkeys(word for word in [*literals, *values] if isinstance(word, str)))


def _describe(member: Any) -> str:
    origin, arguments = get_origin(member), get_args(member)
    if member is type(None):
        return "null"
    if origin is type:
        return f"the name of a {arguments[0].__name__}"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a mapping"
    if origin is tuple and Ellipsis not in arguments:
        return "[" + ", ".join(describe(part) for part in arguments) + "]"
    if inspect.isclass(origin) and issubclass(origin, Iterable):
        return "a list of " + describe(arguments[0])
    if AbstractCallable in (member, origin):
        return " or ".join(cls.__name__ for cls in component_classes(member)[0]) or "a function"
    if _is_enum(member):
        return " or ".join(str(one.value) for one in member)
    return getattr(origin or member, "__name__", str(member))


def _is_enum(member: Any) -> bool:
    return get_origin(member) is None and inspect.isclass(member) and issubclass(member, Enum)
