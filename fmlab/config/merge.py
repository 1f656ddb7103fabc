"""Merging by key, with components: `{class_path: DiT, init_args: {...}}`, or `DiT` for short.

Naming another class keeps those of the old arguments that the new constructor takes too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fmlab.config.values import show
from fmlab.errors import UserError

CLASS, ARGS = "class_path", "init_args"
COMPONENT_KEYS = (CLASS, ARGS)

Accepts = Callable[[str], "set[str] | None"]
"""`accepts(word)`: the parameters of the class that a word names; None if nobody knows."""


class Merger:
    """Lays files and overrides over one another.

    Args:
        accepts: Says which arguments a class takes; asked only when a class is replaced.

    Attributes:
        notes: One line for each replacement that dropped arguments.
    """

    def __init__(self, accepts: Accepts) -> None:
        self.accepts = accepts
        self.notes: list[str] = []

    def merge(self, base: Any, over: Any, key: str = "") -> Any:
        """`over` laid over `base`: mappings by key, components by class and argument, anything else replaced."""
        if is_component(base) and is_class_name(over):
            over = {CLASS: over}
        if is_class_name(base) and isinstance(over, dict) and (CLASS in over or ARGS in over):
            base = {CLASS: base}
        if not (isinstance(base, dict) and isinstance(over, dict)):
            return copy.deepcopy(over)
        if is_component(base) and is_component(over):
            base = self._replace_class(base, over[CLASS], key)
        merged = dict(base)
        for name, value in over.items():
            merged[name] = self.merge(base[name], value, join(key, name)) if name in base else copy.deepcopy(value)
        return merged

    def assign(self, node: Any, path: Sequence[str], value: Any, key: str = "") -> Any:
        """`value` laid over what stands at a dotted path; the words `init_args` may be left out of the path."""
        if not path:
            if is_component(node) and isinstance(value, dict) and not set(value) & set(COMPONENT_KEYS):
                value = {ARGS: value}
            return self.merge(node, value, key)
        head, rest = path[0], path[1:]
        if is_class_name(node):
            node = {CLASS: node}
        if isinstance(node, str):
            raise UserError(f"is {node}, which cannot be changed in part", key=key, hint="override what it points at")
        if node is not None and not isinstance(node, dict):
            raise UserError(f"is {show(node)}, which has no part {head!r}", key=key)
        node = node or {}
        if head == CLASS and not rest:
            return self.merge(node, {CLASS: value}, key)
        if is_component(node) and head not in COMPONENT_KEYS:
            return {**node, ARGS: self.assign(node.get(ARGS), path, value, key)}
        return {**node, head: self.assign(node.get(head), rest, value, join(key, head))}

    def _replace_class(self, base: dict[str, Any], new: Any, key: str) -> dict[str, Any]:
        old, arguments = base[CLASS], base.get(ARGS)
        if not isinstance(new, str) or not isinstance(old, str) or old == new or not arguments:
            return base
        accepted = self.accepts(new)
        if accepted is None:
            return base
        dropped = [name for name in arguments if name not in accepted]
        if dropped:
            self.notes.append(f"{key}: {new} takes no {', '.join(dropped)}; dropped with {old}")
        return {CLASS: new, ARGS: {name: value for name, value in arguments.items() if name in accepted}}


def is_component(node: Any) -> bool:
    return isinstance(node, dict) and CLASS in node


def is_class_name(node: Any) -> bool:
    """Whether a node may name a class: a text that is no interpolation."""
    return isinstance(node, str) and "${" not in node


def join(key: str, name: object) -> str:
    """The dotted key as people type it, without the words `init_args`."""
    return key if name == ARGS else f"{key}.{name}" if key else str(name)


def differing_keys(before: Any, now: Any, key: str) -> Iterator[str]:
    """The dotted keys, as they are typed, in which two checked configurations differ."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        if before != now:
            yield key
    elif before.get(CLASS) != now.get(CLASS):
        yield key
    else:
        for name in dict.fromkeys([*before, *now]):
            inner = key if name in (ARGS, CLASS) else join(key, name)
            yield from differing_keys(before.get(name), now.get(name), inner)
