"""The one place that turns names into objects: a node of a configuration, held against a type hint.

A node is checked in full before anything is made of it. Whether a class may be used is decided here and in `classes`,
on the class itself: without trust, only harmless classes of the expected base, and arguments as their hints want them.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fmlab.config.classes import find_class, find_function, import_path, is_known_name, parameters, untrusted
from fmlab.config.hints import (
    Mismatch,
    accepts_none,
    collection_of,
    component_classes,
    dataclass_in,
    fit,
    is_open,
    literals_of,
    mismatch,
    named_bases,
    wants_function,
    without_components,
)
from fmlab.config.merge import ARGS, CLASS, COMPONENT_KEYS, is_component, join
from fmlab.config.schema import EXTRA_WORDS
from fmlab.config.values import show
from fmlab.errors import UserError, nearest


@dataclass(frozen=True)
class Context:
    """What holds for a whole configuration.

    Attributes:
        trust: Whether any class or function may be imported.
        texts: By dotted key, a value that is no text and the text it was written as.
        links: By dotted key, the value of an argument that is left out.
        filled: Collects the keys that were filled so.
    """

    trust: bool = True
    texts: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    links: Mapping[str, Any] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """A node that was checked.

    Attributes:
        written: The node, every class by its full import path and every link filled in.
        make: Makes the object.
    """

    written: Any
    make: Callable[[], Any]


@dataclass(frozen=True)
class Factory:
    """A class with all arguments but the first ones, which its caller supplies: an optimizer's parameters."""

    cls: type
    arguments: dict[str, Any]
    key: str

    def __call__(self, *supplied: Any) -> Any:
        return _construct(self.cls, supplied, self.arguments, self.key)


def build(node: Any, hint: Any, key: str, trust: bool = True) -> Any:
    """The object that a node describes.

    Args:
        node: The name of a class, a mapping with `class_path` and `init_args`, a list or mapping of these, the fields
            of a dataclass, or a plain value.
        hint: What is wanted: a class, whose subclasses may be named; `Callable[[Iterable], Optimizer]`, which gives a
            factory; or any other type hint.
        key: Its dotted key, for errors.
        trust: Whether any class or function may be imported.

    Raises:
        UserError: At the first key that is unknown, missing or of a wrong type, at the first class that is unknown or
            needs trust, and whatever a constructor raises, with its dotted key.
    """
    return plan(node, hint, key, Context(trust)).make()


def plan(node: Any, hint: Any, key: str, context: Context, default: Any = None) -> Plan:
    """The same, checked but not made; arguments that name no class are meant for the class `default`."""
    classes, supplied = component_classes(hint)
    if node is None and accepts_none(hint):
        return Plan(None, lambda: None)
    if isinstance(node, str) and node in EXTRA_WORDS.get(key, ()):
        return Plan(node, lambda: node)
    if is_component(node) and (classes or is_open(hint)):
        if is_open(hint) and not context.trust:
            raise untrusted(str(node[CLASS]), key)
        return plan_component(node, classes or [object], key, context, supplied)
    if (fields := dataclass_in(hint)) and isinstance(node, dict):
        return plan_arguments(fields, node, key, context)
    if isinstance(node, (list, dict)) and (collection := collection_of(hint, node)):
        return _plan_items(node, *collection, key, context)
    if isinstance(node, str) and (bases := named_bases(hint)):
        cls = find_class(node, bases, key, context.trust)
        return Plan(import_path(cls), lambda: cls)
    plain, choices = without_components(hint), literals_of(hint)
    if choices and isinstance(node, str) and node not in choices and "." not in node and not is_known_name(node):
        raise UserError(mismatch(hint, node), key=key, hint=nearest(node, [*choices, *(c.__name__ for c in classes)]))
    try:
        value, written = _fit_plain(plain if classes else hint, node, key, context)
    except Mismatch as error:
        if classes and isinstance(node, (str, dict)):
            return plan_component(node, classes, key, context, supplied, default)
        if isinstance(node, str) and wants_function(hint):
            function = find_function(node, key, context.trust)
            return Plan(node, lambda: function)
        message = mismatch(hint, node) if classes else str(error)
        raise UserError(message, key=key, hint=nearest(str(node), choices) if choices else None) from None
    return Plan(written, lambda: value)


def plan_component(
    node: Any, bases: list[type], key: str, context: Context, supplied: int = 0, default: Any = None
) -> Plan:
    """A component: a class name, or `class_path` and `init_args`; `supplied` arguments come from its caller."""
    node = {CLASS: node} if isinstance(node, str) else node
    if not isinstance(node, dict):
        raise UserError(f"expected the name of a {bases[0].__name__}, got {show(node)}", key=key)
    if CLASS not in node:
        node = _with_default_class(node, bases, key, default)
    for name in node:
        if name not in COMPONENT_KEYS:
            hint = f"arguments of {node[CLASS]} stand under {ARGS}"
            raise UserError("unknown key of a component", key=join(key, name), hint=hint)
    cls = find_class(node[CLASS], bases, key, context.trust)
    arguments = node.get(ARGS) or {}
    if not isinstance(arguments, dict):
        raise UserError(f"expected `key: value` lines, got {show(arguments)}", key=join(key, ARGS))
    planned = plan_arguments(cls, arguments, key, context, supplied)
    return Plan({CLASS: import_path(cls), **({ARGS: planned.written} if planned.written else {})}, planned.make)


def plan_arguments(cls: type, arguments: dict[str, Any], key: str, context: Context, supplied: int = 0) -> Plan:
    """A class with its arguments; what is made is its object, or a factory if its caller supplies the first ones."""
    plans = plan_parameters(cls, arguments, key, context, supplied)

    def make() -> Any:
        values = {name: planned.make() for name, planned in plans.items()}
        return Factory(cls, values, key) if supplied else _construct(cls, (), values, key)

    return Plan({name: planned.written for name, planned in plans.items()}, make)


def plan_parameters(
    cls: type, arguments: dict[str, Any], key: str, context: Context, supplied: int = 0
) -> dict[str, Plan]:
    """The arguments of one constructor, those that links fill in included."""
    accepted = dict(list(parameters(cls).items())[supplied:])
    for name in arguments:
        if name not in accepted:
            cause = f"unknown key, {cls.__name__} takes no {name!r}"
            raise UserError(cause, key=join(key, name), hint=nearest(str(name), accepted))
    if not context.trust and arguments.get("trust"):
        raise untrusted("trust", join(key, "trust"))
    plans: dict[str, Plan] = {}
    for name, parameter in accepted.items():
        inner = join(key, name)
        if name in arguments:
            plans[name] = plan(arguments[name], parameter.annotation, inner, context, parameter.default)
        elif inner in context.links:
            plans[name] = plan(context.links[inner], parameter.annotation, inner, context)
            context.filled.append(inner)
        elif parameter.default is parameter.empty:
            bases = component_classes(parameter.annotation)[0]
            needed = f"a {bases[0].__name__}" if bases else "a value"
            raise UserError(f"missing, {cls.__name__} needs {needed}", key=inner, hint=f"give it with --{inner}=...")
    return plans


def _plan_items(node: list[Any] | dict[str, Any], kind: type, hint: Any, key: str, context: Context) -> Plan:
    if isinstance(node, dict):
        by_name = {name: plan(item, hint, join(key, name), context) for name, item in node.items()}
        written = {name: planned.written for name, planned in by_name.items()}
        return Plan(written, lambda: {name: planned.make() for name, planned in by_name.items()})
    plans = [plan(item, hint, f"{key}[{index}]", context) for index, item in enumerate(node)]
    return Plan([planned.written for planned in plans], lambda: kind(planned.make() for planned in plans))


def _fit_plain(hint: Any, node: Any, key: str, context: Context) -> tuple[Any, Any]:
    """The value of a plain node and how it is written: where a text is wanted, a number is what was typed for it."""
    if hint is None:
        raise Mismatch
    try:
        json.dumps(node)
    except (TypeError, ValueError) as error:
        raise UserError(f"cannot be written down: {error}", key=key) from error
    try:
        return fit(hint, node), node
    except Mismatch:
        text = _as_text(node, key, context)
        if text == node:
            raise
        try:
            return fit(hint, text), text
        except Mismatch:
            pass
        raise


def _as_text(node: Any, key: str, context: Context) -> Any:
    if isinstance(node, list) and key not in context.texts:
        return [_as_text(item, f"{key}[{index}]", context) for index, item in enumerate(node)]
    value, text = context.texts.get(key, (None, None))
    if text is not None and type(value) is type(node) and value == node:
        return text
    return str(node) if isinstance(node, (int, float)) and not isinstance(node, bool) else node


@contextmanager
def full_keys(cls: type, key: str) -> Iterator[None]:
    """Within, a UserError that names an argument of a class is raised with its full dotted key."""
    try:
        yield
    except UserError as error:
        names_parameter = error.key is not None and error.key.partition(".")[0] in parameters(cls)
        if not names_parameter or f"{error.key}.".startswith(f"{key}."):
            raise
        raise type(error)(error.message, key=join(key, error.key), hint=error.hint) from error


def _construct(cls: type, supplied: tuple[Any, ...], arguments: dict[str, Any], key: str) -> Any:
    """The object; what its constructor refuses is reported with the key at fault."""
    try:
        with full_keys(cls, key):
            return cls(*supplied, **arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError) or not cls.__module__.startswith("torch."):
            raise
        raise UserError(" ".join(str(error).split())[:200], key=key) from error


def _with_default_class(node: dict[str, Any], bases: list[type], key: str, default: Any) -> dict[str, Any]:
    """Arguments that name no class are for the default one, if there is one."""
    if not inspect.isclass(default) or default is inspect.Parameter.empty:
        cause = f"names no class, only {', '.join(map(str, node)) or 'nothing'}"
        raise UserError(cause, key=key, hint=f"name the {bases[0].__name__} too: --{key}=...")
    return {CLASS: import_path(default), **(node if set(node) <= set(COMPONENT_KEYS) else {ARGS: node})}
