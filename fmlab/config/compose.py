"""From the command line to one configuration: files left to right, then overrides, and only then `${...}`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fmlab.config.arguments import parse_arguments
from fmlab.config.classes import accepted_arguments, add_import_folders
from fmlab.config.merge import ARGS, CLASS, Merger, is_component, join
from fmlab.config.values import read_file, read_file_and_texts, read_value
from fmlab.errors import TRUST_HINT, UserError, nearest
from fmlab.records.secrets import HIDDEN, hidden_variables, with_variables

_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")
_PLAIN_REFERENCE = re.compile(r"\$\{\.*[A-Za-z_][\w-]*(?:\.[\w-]+)*\}")

Texts = dict[str, tuple[Any, str]]
"""By dotted key, a value that is no text and the text it was written as: `{"run.name": (0.0003, "3e-4")}`."""


@dataclass(kw_only=True)
class Composition:
    """What files and command line say together.

    Attributes:
        raw: The merged configuration, `${...}` not yet resolved.
        typed: The words as they were typed.
        files: The configuration files, in order.
        notes: Lines to show the user: one for each class swap that dropped arguments.
        texts: How numbers and the like were written, for a constructor that wants the text.
        import_folders: The folders in which the user's own parts are looked for.
    """

    raw: dict[str, Any]
    typed: list[str]
    files: list[Path]
    notes: list[str]
    texts: Texts
    import_folders: list[str]


def compose(argv: list[str], trust: bool = True, record: Path | None = None) -> Composition:
    """Merges the `--config` files of `argv` left to right, and its overrides over them.

    An override of a key acts before an override of a part of it, whatever their order, because sweep agents sort as
    they like; of two overrides of one key the later holds.

    Args:
        argv: The words.
        trust: Whether code of the user's own may be imported, from beside the files or the working directory.
        record: The resolved configuration of the run whose files these are, if it is not trusted: a text in them that
            names more than another key, such as an environment variable, is replaced by what was recorded.

    Raises:
        UserError: If a word, a file or a value cannot be read.
    """
    files, overrides = parse_arguments(argv)
    folders = add_import_folders(files) if trust else []
    merger = Merger(partial(accepted_arguments, trust=trust))
    config: dict[str, Any] = {}
    texts: Texts = {}
    recorded = None if trust or record is None else read_file(record)
    for file in files:
        content, scalars = read_file_and_texts(file)
        config = merger.merge(config, content if recorded is None else _with_recorded(content, recorded))
        texts |= {_dotted(keys): scalar for keys, scalar in scalars.items()}
    for key, text in sorted(overrides, key=lambda override: _depth(override[0])):
        value = read_value(text)
        config = merger.assign(config, key.split("."), value)
        texts[_dotted(key.split("."))] = value, text
    return Composition(
        raw=config, typed=list(argv), files=files, notes=merger.notes, texts=texts, import_folders=folders
    )


def resolve(config: dict[str, Any], trust: bool = True, texts: Texts | None = None) -> dict[str, Any]:
    """The configuration with every `${...}` resolved; `${data.size}` may leave out the words `init_args`.

    Args:
        config: The merged configuration.
        trust: Whether `${...}` may name more than another key: an environment variable.
        texts: Where the text of a number from the environment is noted.

    Raises:
        UserError: If something cannot be resolved; the key that holds it is named.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

    if not trust:
        for key, value in _leaves(config):
            if isinstance(value, str) and not _is_plain(value):
                raise UserError(f"{value} may read the environment", key=key, hint=TRUST_HINT)
    written = _with_real_positions(config, config)
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        hint = _nearest_key(config, error) if isinstance(error, InterpolationKeyError) else None
        raise UserError(_first_line(error), key=_holder(config, error), hint=hint) from error
    assert isinstance(resolved, dict)
    texts = {} if texts is None else texts
    return {str(key): _typed(value, config.get(str(key)), str(key), texts) for key, value in resolved.items()}


def with_hidden_values(config: dict[str, Any], trust: bool) -> dict[str, Any]:
    """A recorded configuration with the values that the record hides: those of environment variables are read again.

    Args:
        config: The configuration, resolved.
        trust: Whether the environment may be read.

    Raises:
        UserError: If a value is hidden and cannot be had; its key is named.
    """
    for key, value in _leaves(config):
        if not isinstance(value, str):
            continue
        unknown = [name for name in hidden_variables(value) if not trust or name not in os.environ]
        again = f"type --{key.partition('[')[0]}=... again"
        if unknown:
            hint = again if trust else f"{again}, or add --trust to read {unknown[0]} from the environment"
            raise UserError(f"is the value of {unknown[0]}, which no record keeps", key=key, hint=hint)
        if HIDDEN in value:
            raise UserError("is a credential, which no record keeps", key=key, hint=again)
    return _with_variables(config)


def _with_variables(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _with_variables(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_with_variables(value) for value in node]
    return with_variables(node) if isinstance(node, str) else node


def _is_plain(text: str) -> bool:
    """Whether a text's `${...}` name nothing but other keys."""
    return "${" not in _PLAIN_REFERENCE.sub("", text)


def _typed(node: Any, written: Any, key: str, texts: Texts) -> Any:
    """A resolved value; a text from the environment is read as an override is, so that it may be a number."""
    if isinstance(node, dict) and isinstance(written, dict):
        return {name: _typed(value, written.get(name), join(key, name), texts) for name, value in node.items()}
    if isinstance(node, list) and isinstance(written, list):
        return [_typed(node[index], item, f"{key}[{index}]", texts) for index, item in enumerate(written)]
    if not isinstance(written, str) or not isinstance(node, str) or _is_plain(written):
        return node
    value = read_value(node)
    texts[key] = value, node
    return value


def _with_recorded(node: Any, recorded: Any) -> Any:
    """A run's configuration as written, its texts that may read the environment as they were resolved at the time."""
    if isinstance(node, dict):
        values = recorded if isinstance(recorded, dict) else {}
        return {name: _with_recorded(value, values.get(name)) for name, value in node.items()}
    if isinstance(node, list):
        items = recorded if isinstance(recorded, list) and len(recorded) == len(node) else [None] * len(node)
        return [_with_recorded(value, item) for value, item in zip(node, items)]
    return node if not isinstance(node, str) or _is_plain(node) or recorded is None else recorded


def _dotted(keys: Iterable[str | int]) -> str:
    dotted = ""
    for key in keys:
        dotted = f"{dotted}[{key}]" if isinstance(key, int) else join(dotted, key)
    return dotted


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
    """Every value that is neither mapping nor list, with its key as people type it."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, join(key, name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{key}[{index}]")
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
    match = re.search(r"'([^']*)'", str(getattr(error, "msg", "")))
    if match is None:
        return None
    missing = match.group(1).replace(f".{ARGS}", "")
    keys = [key for key, _ in _leaves(config) if not key.endswith(CLASS)]
    section = missing.partition(".")[0] + "."
    return nearest(missing, [key for key in keys if key.startswith(section)] or keys)


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "an interpolation leads back to itself"
    if type(error).__name__ == "GrammarParseError":
        return "a ${...} in it is not well formed"
    text = str(getattr(error, "msg", None) or error).strip()
    line = text.split("\n", 1)[0].replace(f".{ARGS}", "")
    return line.partition("raised while resolving interpolation: ")[2].strip("\"'") or line
