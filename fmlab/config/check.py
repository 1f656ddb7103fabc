"""A resolved configuration held against the constructors' type hints, with one line for what does not fit."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from fmlab.config import schema
from fmlab.config.hints import (
    accepts_none,
    component_classes,
    dataclass_in,
    fit,
    item_hint,
    mismatch,
    without_components,
    words_of,
)
from fmlab.config.merge import ARGS, CLASS, COMPONENT_KEYS, is_component, join
from fmlab.config.names import candidates, find_class, import_path, parameters
from fmlab.config.values import show
from fmlab.errors import UserError, nearest


def check(config: dict[str, Any], known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration with every class by its full import path, once all of it fits the constructors.

    Args:
        config: The resolved configuration.
        known: Values for constructor parameters of the model and its parts that the configuration leaves out, by the
            parameter's name: `shape`, `num_classes`, `seed`.

    Raises:
        UserError: At the first key that is unknown, missing or of a wrong type, and at the first class that is unknown.
    """
    check_sections(config)
    checked: dict[str, Any] = {schema.SEED: check_seed(config)}
    for section in schema.SECTIONS:
        if section.name in config:
            checked[section.name] = check_section(section, config[section.name], known or {})
    return checked


def check_sections(config: Mapping[str, Any]) -> None:
    """Refuses unknown sections, and configurations without the needed ones."""
    for key in config:
        if key not in schema.BY_NAME and key != schema.SEED:
            raise UserError("unknown section", key=str(key), hint=nearest(str(key), [*schema.BY_NAME, schema.SEED]))
    for section in schema.SECTIONS:
        if section.required and config.get(section.name) is None:
            hint = "start from an experiment: --config experiments/digits.yaml" if not config else section.about
            raise UserError("missing", key=section.name, hint=hint)


def check_seed(config: Mapping[str, Any]) -> int:
    """The seed of the run; a fixed one if the configuration names none."""
    seed = config.get(schema.SEED, schema.DEFAULT_SEED)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UserError(f"expected int, got {show(seed)}", key=schema.SEED)
    return seed


def check_section(section: schema.Section, value: Any, known: Mapping[str, Any]) -> Any:
    """One section; `known` fills parameters that the model or the data leave out, and nothing else."""
    target = find_class(section.target, (object,), section.name)
    if section.component:
        return check_component(section.name, [target], value, known)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise UserError(f"expected `key: value` lines, got {show(value)}", key=section.name)
    return check_arguments(section.name, target, value, {})


def check_component(
    key: str, bases: list[type], value: Any, known: Mapping[str, Any], supplied: int = 0, default: Any = None
) -> dict[str, Any]:
    """A component with its full import path and checked arguments.

    Args:
        key: Its dotted key.
        bases: The classes it may derive from.
        value: A class name, or `class_path` and `init_args`.
        known: Values for parameters that are left out.
        supplied: How many leading arguments the caller itself will supply.
        default: What the parameter defaults to; arguments without a class are meant for it.
    """
    node = {CLASS: value} if isinstance(value, str) else value
    if not isinstance(node, dict):
        raise UserError(f"expected the name of a {bases[0].__name__}, got {show(value)}", key=key)
    if CLASS not in node:
        node = _with_default_class(key, bases, node, default)
    for name in node:
        if name not in COMPONENT_KEYS:
            hint = f"arguments of {node[CLASS]} stand under {ARGS}"
            raise UserError("unknown key of a component", key=join(key, name), hint=hint)
    word, arguments = node[CLASS], node.get(ARGS) or {}
    if not isinstance(word, str):
        raise UserError(f"expected the name of a class, got {show(word)}", key=join(key, CLASS))
    if not isinstance(arguments, dict):
        raise UserError(f"expected `key: value` lines, got {show(arguments)}", key=join(key, ARGS))
    cls = find_class(word, bases, key)
    checked = {CLASS: import_path(cls), ARGS: check_arguments(key, cls, arguments, known, supplied)}
    return {name: part for name, part in checked.items() if part}


def check_arguments(
    key: str, cls: type, arguments: dict[str, Any], known: Mapping[str, Any], supplied: int = 0
) -> dict[str, Any]:
    """The arguments of one constructor, checked and completed from `known`."""
    accepted = dict(list(parameters(cls).items())[supplied:])
    for name in arguments:
        if name not in accepted:
            cause = f"unknown key, {cls.__name__} takes no {name!r}"
            raise UserError(cause, key=join(key, name), hint=nearest(str(name), accepted))
    checked = {}
    for name, parameter in accepted.items():
        hint, default, place = parameter.annotation, parameter.default, join(key, name)
        if name in arguments:
            checked[name] = check_value(place, hint, arguments[name], known, default)
        elif name in known:
            checked[name] = check_value(place, hint, known[name], known, default)
        elif default is inspect.Parameter.empty:
            bases = component_classes(hint)[0]
            wanted = f"a {bases[0].__name__}" if bases else "a value"
            raise UserError(f"missing, {cls.__name__} needs {wanted}", key=place, hint=f"give it with --{place}=...")
    return checked


def check_value(key: str, hint: Any, value: Any, known: Mapping[str, Any], default: Any = None) -> Any:
    """One value held against one type hint; components, alone or in lists and mappings, are followed inward."""
    if value in schema.EXTRA_WORDS.get(key, ()) if isinstance(value, str) else False:
        return value
    if value is None and accepts_none(hint):
        return None
    classes, supplied = component_classes(hint)
    fields = dataclass_in(hint)
    items = item_hint(hint, value) if isinstance(value, (list, dict)) else None
    if fields and isinstance(value, dict) and not is_component(value):
        return check_arguments(key, fields, value, known)
    if classes and is_component(value):
        return check_component(key, classes, value, known, supplied)
    if items is not None and isinstance(value, list):
        return [check_value(f"{key}[{place}]", items, item, known) for place, item in enumerate(value)]
    if items is not None and isinstance(value, dict):
        return {name: check_value(join(key, name), items, item, known) for name, item in value.items()}
    plain = without_components(hint)
    words = words_of(hint)
    if words and isinstance(value, str) and value not in words and "." not in value and not candidates(value):
        raise UserError(mismatch(hint, value), key=key, hint=nearest(value, [*words, *(c.__name__ for c in classes)]))
    if classes and (plain is None or not fit(plain, value)[0]) and isinstance(value, (str, dict)):
        return check_component(key, classes, value, known, supplied, default)
    fits, kept = fit(hint, value)
    if not fits:
        raise UserError(mismatch(hint, value), key=key, hint=nearest(str(value), words) if words else None)
    _check_plain(key, kept)
    return kept


def locate(error: UserError, config: Mapping[str, Any]) -> UserError:
    """The error with its full dotted key, where a constructor knows only the name of its parameter."""
    if not error.key:
        return error
    places = [place for place in _argument_places(config) if f".{place}".endswith(f".{error.key}")]
    return UserError(error.message, key=places[0], hint=error.hint) if len(places) == 1 else error


def _with_default_class(key: str, bases: list[type], node: dict[str, Any], default: Any) -> dict[str, Any]:
    """Arguments that name no class are for the default one, if there is one."""
    if not inspect.isclass(default) or default is inspect.Parameter.empty:
        cause = f"names no class, only {', '.join(map(str, node)) or 'nothing'}"
        raise UserError(cause, key=key, hint=f"name the {bases[0].__name__} too: --{key}=...")
    return {CLASS: import_path(default), **(node if set(node) <= set(COMPONENT_KEYS) else {ARGS: node})}


def _check_plain(key: str, value: Any) -> None:
    """Whatever no hint describes must still be plain data, or it could not be written down."""
    try:
        json.dumps(value, default=str)
    except (TypeError, ValueError) as error:
        raise UserError(f"cannot be written down: {error}", key=key) from error


def _argument_places(node: Any, key: str = "") -> list[str]:
    """Dotted keys of every argument that some component or section of the configuration has or could have."""
    places: list[str] = []
    if is_component(node):
        cls = find_class(node[CLASS], (object,), key)
        places += [join(key, name) for name in parameters(cls)]
    if isinstance(node, Mapping):
        for name, value in node.items():
            places += [join(key, name)] if not is_component(node) and name != ARGS else []
            places += _argument_places(value, join(key, name))
    return list(dict.fromkeys(places))
