"""Parts that options name, such as `--solver Heun --solver.x=1`, checked and built as those of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from fmlab.config.build import build
from fmlab.config.classes import extend_import_path, find_class, parameters
from fmlab.config.merge import Merger
from fmlab.config.options import Component, split_list
from fmlab.config.values import read_value
from fmlab.errors import UserError, nearest


def build_component(name: str, component: Component, base: type) -> Any:
    """A solver, a grid, a path from the options that name it; None where none is named.

    Args:
        name: The option, for messages.
        component: Its class and arguments.
        base: What the class derives from.
    """
    _check_named(name, component)
    if component.name is None:
        return None
    _look_in_this_folder(component.name)
    return build(with_arguments(component.name, component.arguments, name), base, name)


def build_axis(name: str, component: Component, base: type) -> list[Any]:
    """Every part that classes and arguments with commas name; `[None]` where no class is named.

    Of several classes each takes the arguments that it has, and one of them must have them.

    Args:
        name: The option, for messages.
        component: Classes, and arguments whose texts may hold several values.
        base: What the classes derive from.

    Raises:
        UserError: If there is no such class, or no class with such an argument.
    """
    _check_named(name, component)
    if component.name is None:
        return [None]
    accepted: dict[str, set[str]] = {}
    for word in split_list(name, component.name):
        _look_in_this_folder(word)
        accepted[word] = set(parameters(find_class(word, (base,), name)))
    heads = {argument: argument.partition(".")[0] for argument in component.arguments}
    for argument, head in heads.items():
        if not any(head in names for names in accepted.values()):
            hint = nearest(argument, sorted(set().union(*accepted.values())))
            raise UserError(f"no {name} here takes this argument", key=f"{name}.{argument}", hint=hint)
    parts = []
    for word, names in accepted.items():
        axes = {key: _axis(f"{name}.{key}", component.arguments[key]) for key in heads if heads[key] in names}
        for values in product(*axes.values()):
            parts.append(build(with_arguments(word, dict(zip(axes, values)), name), base, name))
    return parts


def with_arguments(node: Any, arguments: Mapping[str, Any], key: str) -> Any:
    """A component's node with arguments laid over it, by their dotted names: `{"diffusion.scale": 0.5}`."""
    merger = Merger(lambda word: None)
    for argument in sorted(arguments, key=lambda dotted: dotted.count(".")):
        node = merger.assign(node, argument.split("."), arguments[argument], key)
    return node


def _check_named(name: str, component: Component) -> None:
    if component.name is None and component.arguments:
        argument = f"{name}.{next(iter(component.arguments))}"
        raise UserError(f"no {name} takes this argument", key=argument, hint=f"name its class too: --{name} CLASS")


def _look_in_this_folder(name: str) -> None:
    """Lets a user name a part of his own in the working directory: what he types, he trusts."""
    package, dot, _ = name.partition(".")
    if dot and package.isidentifier() and find_spec(package) is None:
        extend_import_path([str(Path.cwd())])


def _axis(key: str, value: Any) -> list[Any]:
    """The values of an argument: a text with commas, outside of brackets, holds several."""
    if not isinstance(value, str) or "," not in value:
        return [value]
    return [read_value(text) for text in dict.fromkeys(split_list(key, value))]
