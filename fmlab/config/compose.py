"""From the command line to one configuration: files left to right, then overrides, and only then `${...}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmlab.config.arguments import parse_arguments
from fmlab.config.merge import ARGS, CLASS, Merger, is_component, join
from fmlab.config.values import read_file, read_value
from fmlab.errors import UserError, nearest

_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")


@dataclass
class Composition:
    """What files and command line say together.

    Attributes:
        config: The merged configuration, `${...}` not yet resolved.
        typed: The words as they were typed.
        files: The configuration files, in order.
        notes: One line for each class swap that dropped arguments.
    """

    config: dict[str, Any]
    typed: list[str]
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compose(argv: list[str]) -> Composition:
    """Merges the `--config` files of `argv` left to right, and its overrides over them.

    An override of a key acts before an override of a part of it, whatever their order, because sweep agents sort as
    they like; of two overrides of one key the later holds.

    Raises:
        UserError: If a word, a file or a value cannot be read.
    """
    arguments = parse_arguments(argv)
    merger = Merger(_accepts(arguments.files))
    config: dict[str, Any] = {}
    for file in arguments.files:
        config = merger.merge(config, read_file(file))
    for key, text in sorted(arguments.overrides, key=lambda override: _depth(override[0])):
        config = merger.assign(config, key.split("."), read_value(text))
    return Composition(config, list(argv), arguments.files, merger.notes)


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with every `${...}` resolved; `${data.size}` may leave out the words `init_args`.

    Raises:
        UserError: If something cannot be resolved; the key that holds it is named.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

    written = _with_real_positions(config, config)
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    except InterpolationKeyError as error:
        raise UserError(_first_line(error), key=_holder(config, error), hint=_nearest_key(config, error)) from error
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(_first_line(error), key=_holder(config, error)) from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _accepts(files: list[Path]) -> Any:
    """Asks a class for its parameters; imported late, because most command lines replace no class."""

    def accepts(new: str, old: str) -> set[str] | None:
        from fmlab.config.names import accepted_arguments, add_import_folders

        add_import_folders(files)
        return accepted_arguments(new, old)

    return accepts


def _depth(key: str) -> int:
    return len([part for part in key.split(".") if part not in (ARGS, CLASS)])


def _with_real_positions(node: Any, root: dict[str, Any]) -> Any:
    """The tree with `init_args` written into the references that leave it out."""
    if isinstance(node, dict):
        return {key: _with_real_positions(value, root) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_real_positions(value, root) for value in node]
    if isinstance(node, str):
        return _REFERENCE.sub(lambda match: "${" + _real_position(match.group(1), root) + "}", node)
    return node


def _real_position(reference: str, root: dict[str, Any]) -> str:
    node: Any = root
    position = []
    for part in reference.split("."):
        if is_component(node) and part not in node and part in (node.get(ARGS) or {}):
            position.append(ARGS)
            node = node[ARGS]
        position.append(part)
        node = node.get(part) if isinstance(node, dict) else None
    return ".".join(position)


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, with its key as people type it."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, join(key, name))
    else:
        yield key, node


def _holder(config: dict[str, Any], error: Exception) -> str | None:
    """The key whose value could not be resolved."""
    full = str(getattr(error, "full_key", None) or "")
    if full:
        return ".".join(part for part in full.split(".") if part != ARGS)
    return next((key for key, value in _leaves(config) if isinstance(value, str) and "${" in value), None)


def _nearest_key(config: dict[str, Any], error: Exception) -> str | None:
    """The keys that come near the one that was not found; those of its own section, if there is such a section."""
    found = re.search(r"'([^']*)'", str(getattr(error, "msg", "")))
    if found is None:
        return None
    wanted = found.group(1).replace(f".{ARGS}", "")
    keys = [key for key, _ in _leaves(config) if not key.endswith(CLASS)]
    section = wanted.partition(".")[0] + "."
    return nearest(wanted, [key for key in keys if key.startswith(section)] or keys)


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "an interpolation leads back to itself"
    if type(error).__name__ == "GrammarParseError":
        return "a ${...} in it is not well formed"
    text = str(getattr(error, "msg", None) or error).strip()
    line = text.split("\n", 1)[0].replace(f".{ARGS}", "")
    return line.partition("raised while resolving interpolation: ")[2].strip("\"'") or line
