"""What can be said of a configuration from the package's source alone, in a moment: nothing heavy is imported."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from fmlab.config import catalog, schema
from fmlab.config.classes import is_known_name
from fmlab.config.merge import ARGS, CLASS, is_component, join
from fmlab.errors import UserError, nearest


def precheck(config: Mapping[str, Any]) -> None:
    """Refuses unknown sections, and unknown classes and constructor arguments of this package.

    Args:
        config: A resolved configuration.

    Raises:
        UserError: At the first of these. What it lets pass may still be wrong.
    """
    check_sections(config)
    for section in schema.SECTIONS:
        node = config.get(section.name)
        if section.component:
            check_component(node, section.name)
        elif section.target.startswith("fmlab.") and isinstance(node, dict):
            entry = catalog.find_entry(*section.target.rsplit(".", 1))
            _check_arguments(node, section.name, entry)


def check_sections(config: Mapping[str, Any]) -> None:
    """Refuses unknown sections, and configurations without the needed ones."""
    for key in config:
        if key not in schema.BY_NAME and key != schema.SEED:
            raise UserError("unknown section", key=str(key), hint=nearest(str(key), [*schema.BY_NAME, schema.SEED]))
    for section in schema.SECTIONS:
        if section.required and config.get(section.name) is None:
            hint = "start from an experiment: --config experiments/digits.yaml" if not config else section.about
            raise UserError("missing", key=section.name, hint=hint)


def check_component(node: Any, key: str, bases: Sequence[str] = ()) -> None:
    """Refuses a class, or an argument of one, that this package's source shows not to exist.

    Args:
        node: A class's name, or a component.
        key: Where it stands; the last word tells which kind of part is wanted.
        bases: The names of the classes that it must derive from, where the key does not tell.
    """
    word = node.get(CLASS) if isinstance(node, dict) else node
    if not isinstance(word, str):
        return
    module, _, name = word.rpartition(".")
    last = key.rpartition(".")[2]
    kinds = [kind for kind in catalog.KINDS.values() if kind.key.rpartition(".")[2] == last]
    entry = catalog.find_entry(module, name) if module else None
    exported = catalog.public_names(module) if module.startswith("fmlab.") else frozenset()
    if entry is None and exported and name not in exported:
        raise UserError(f"{module} has no class {name!r}", key=key, hint=nearest(name, exported))
    if not module and name.isidentifier() and (kinds or bases) and not is_known_name(name):
        names = [entry.name for kind in kinds for entry in catalog.of_kind(kind.name)]
        raise UserError(f"no {' or '.join(bases) or last} is called {word!r}", key=key, hint=nearest(name, names))
    entries = [entry] if module else catalog.named(name)
    if len(entries) == 1 and isinstance(node, dict) and isinstance(node.get(ARGS), dict):
        _check_arguments(node[ARGS], key, entries[0])


def _check_arguments(arguments: dict[str, Any], key: str, entry: catalog.Entry | None) -> None:
    accepted = entry.arguments() if entry else None
    for name, node in arguments.items():
        argument = None if accepted is None else accepted.get(name)
        if entry is not None and accepted is not None and argument is None:
            cause = f"unknown key, {entry.name} takes no {name!r}"
            raise UserError(cause, key=join(key, str(name)), hint=nearest(str(name), accepted))
        bases = [] if argument is None else _bases(argument)
        if is_component(node) or (isinstance(node, str) and bases):
            check_component(node, join(key, str(name)), bases)


def _bases(argument: catalog.Argument) -> list[str]:
    """The names of the classes that an argument's hint is made of, if it is made of nothing else but null."""
    names = [] if argument.hint is None else ast.unparse(argument.hint).split(" | ")
    classes = {"nn.Module": "Module", **{entry.name: entry.name for entry in argument.classes()}}
    names = [name for name in names if name != "None"]
    return [classes[name] for name in names] if all(name in classes for name in names) else []
