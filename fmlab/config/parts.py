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
from fmlab.config.option_values import split_list
from fmlab.config.options import Component
from fmlab.config.values import read_value
from fmlab.errors import UserError, nearest


def build_component(name: str, component: Component, base: type) -> Any:
    """A solver, a grid, a path from the options that name it.

    Args:
        name: The option, for messages.
        component: Its class, which is named, and arguments.
        base: What the class derives from.
    """
    assert component.name is not None
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
    if component.name is None:
        return [None]
    classes = list(dict.fromkeys(split_list(name, component.name)))
    for cls in classes:
        _look_in_this_folder(cls)
    accepted = {cls: set(parameters(find_class(cls, (base,), name))) for cls in classes}
    for argument in component.arguments:
        if not any(argument.partition(".")[0] in accepted_arguments for accepted_arguments in accepted.values()):
            hint = nearest(argument, sorted(set().union(*accepted.values())))
            raise UserError(f"no {name} here takes this argument", key=f"{name}.{argument}", hint=hint)
    parts = []
    for cls in classes:
        accepted_arguments = {
            key: value for key, value in component.arguments.items() if key.partition(".")[0] in accepted[cls]
        }
        for values in product(*(_axis(f"{name}.{key}", value) for key, value in accepted_arguments.items())):
            parts.append(build(with_arguments(cls, dict(zip(accepted_arguments, values)), name), base, name))
    return parts


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


def with_arguments(node: Any, arguments: Mapping[str, Any], key: str) -> Any:
    """A component's node with arguments laid over it, by their dotted names: `{"diffusion.scale": 0.5}`."""
    merger = Merger(lambda new, old: None)
    for argument in sorted(arguments, key=lambda dotted: dotted.count(".")):
        node = merger.assign(node, argument.split("."), arguments[argument], key)
    return node
