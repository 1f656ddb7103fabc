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
    """Refuses unknown and missing sections, and unknown classes and constructor arguments of this package.

    Args:
        config: A resolved configuration.

    Raises:
        UserError: At the first of these. What it lets pass may still be wrong.
    """
    for key in config:
        if key not in schema.BY_NAME and key != schema.SEED:
            names = [*schema.BY_NAME, schema.SEED, "config", "print_config", "resume", "trust"]
            raise UserError("unknown section", key=str(key), hint=nearest(str(key), names))
    for section in schema.SECTIONS:
        node = config.get(section.name)
        if node is None and section.component:
            hint = "start from an experiment: --config experiments/digits.yaml" if not config else section.about
            raise UserError("missing", key=section.name, hint=hint)
    for section in schema.SECTIONS:
        node = config.get(section.name)
        if section.component:
            check_component(node, section.name)
        elif isinstance(node, dict) and (entry := catalog.find_entry(section.target)):
            _check_arguments(node, section.name, entry)


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
    kinds = [kind for kind, facts in catalog.KINDS.items() if facts.key.rpartition(".")[2] == last]
    entry = catalog.find_entry(word)
    exported = catalog.public_names(module) if module.startswith("fmlab.") else frozenset()
    if entry is None and exported and name not in exported:
        raise UserError(f"{module} has no class {name!r}", key=key, hint=nearest(name, exported))
    if not module and name.isidentifier() and (kinds or bases) and not is_known_name(name):
        names = [entry.name for kind in kinds for entry in catalog.of_kind(kind)]
        raise UserError(f"no {' or '.join(bases) or last} is called {word!r}", key=key, hint=nearest(name, names))
    if entry and isinstance(node, dict) and isinstance(node.get(ARGS), dict):
        _check_arguments(node[ARGS], key, entry)


def _check_arguments(arguments: dict[str, Any], key: str, entry: catalog.Entry) -> None:
    accepted = entry.arguments()
    for name, node in arguments.items():
        if accepted is not None and name not in accepted:
            cause = f"unknown key, {entry.name} takes no {name!r}"
            raise UserError(cause, key=join(key, str(name)), hint=nearest(str(name), accepted))
        bases = _bases(accepted[name]) if accepted else []
        if is_component(node) or (isinstance(node, str) and bases):
            check_component(node, join(key, str(name)), bases)


def _bases(argument: catalog.Argument) -> list[str]:
    """The names of the classes that an argument's hint is made of, if it is made of nothing else but null."""
    names = [] if argument.hint is None else ast.unparse(argument.hint).split(" | ")
    names = [name.removeprefix("nn.") for name in names if name != "None"]
    return names if all(name == "Module" or _is_class(argument.module, name) for name in names) else []


def _is_class(module: str, name: str) -> bool:
    entry = catalog.find_in_module(module, name)
    return entry is not None and isinstance(entry.node, ast.ClassDef)
