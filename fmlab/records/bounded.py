"""Texts of unknown origin, read without running out of memory, stack or time.

No record and no configuration comes near these bounds. A hostile one may be a link to an endless device, nest thousands
of brackets, or expand a few lines of aliases to gigabytes.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from fmlab.errors import UserError

MAX_BYTES, MAX_NODES, MAX_DEPTH = 1_000_000, 100_000, 50

FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of the two that read the same, the fast one


class TooLargeError(yaml.MarkedYAMLError):
    """A document that is nested too deeply, or that its aliases make too large."""


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a file.

    Raises:
        UserError: If it cannot be read, is no regular file or no UTF-8, or is larger than `limit` bytes.
    """
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"cannot be read: {' '.join(str(error).split())[:120]}", key=str(path)) from error


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file.

    Raises:
        UserError: If it cannot be read, is no regular file, or is larger than `limit` bytes.
    """
    try:
        # Without waiting, because a pipe that nobody writes to would never open.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError("is no file", key=str(path))
            data = file.read(min(limit, status.st_size) + 1)  # a larger number would ask for as much memory
        if status.st_size > limit or len(data) > limit:
            raise UserError(f"is larger than {limit:,} bytes", key=str(path))
        return data
    except UserError:
        raise
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise UserError(f"cannot be read: {cause}", key=str(path)) from error


def read_json_object(path: Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The object in a JSON file of a record; empty where there is none that can be read."""
    try:
        content = json.loads(read_text(path, limit))
    except (UserError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, its scalars as YAML 1.1 has them.

    Raises:
        UserError: If it cannot be read, is not YAML (the line is named) or no mapping, or is too large.
    """
    text = read_text(path)
    try:
        content = construct(bounded_node(text, FastLoader), FastLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(" ".join((error.problem or "not valid YAML").split()), key=where) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError("is not YAML text: " + " ".join(str(error).split())[:120], key=str(path)) from error
    if not isinstance(content, dict):
        raise UserError("expected `key: value` lines", key=str(path))
    return content


def bounded_node(text: str, loader: Any) -> yaml.Node | None:
    """The document's nodes, once they are known to be of bounded depth and size; None for an empty document.

    Raises:
        TooLargeError: If they are not.
        YAMLError: If the text is not YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise TooLargeError(problem=f"is nested more than {MAX_DEPTH} deep", problem_mark=event.start_mark)
    node: yaml.Node | None = yaml.compose(text, Loader=loader)
    if node is not None:
        _measure(node, {})
    return node


def construct(node: yaml.Node | None, loader: Any) -> Any:
    """The values of a document's nodes."""
    constructor = loader("")
    try:
        return None if node is None else constructor.construct_document(node)
    finally:
        constructor.dispose()


def _measure(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many nodes a node expands to; an alias of what contains it is endlessly large."""
    if id(node) not in sizes:
        sizes[id(node)] = MAX_NODES + 1  # until it is known, for an alias within it
        children = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        size = 1
        for child in children:
            size += _measure(child, sizes)
        sizes[id(node)] = size
    if sizes[id(node)] > MAX_NODES:
        raise TooLargeError(problem=f"has more than {MAX_NODES:,} values", problem_mark=node.start_mark)
    return sizes[id(node)]
