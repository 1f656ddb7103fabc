"""The command line of a trial: W&B's macros filled in as its agent fills them in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmlab.errors import UserError, nearest

_ARGS = ("${args}", "${args_no_equals}", "${args_no_hyphens}")
_MACROS = ("${env}", "${interpreter}", "${program}", *_ARGS)
_VARIABLE = re.compile(r"\$\{envvar:(\w+)\}")


def check_command(file: Path, command: Any) -> list[str]:
    """The words of a file's `command`, once every macro in it is known and the parameters arrive.

    Raises:
        UserError: If they would not.
    """
    key = f"{file}: command"
    usual = 'command: ["${env}", fmlab, fit, --config, experiments/digits.yaml, "${args}"]'
    if not isinstance(command, list) or not all(isinstance(word, (str, int, float)) for word in command):
        raise UserError("is missing, or no list of words", key=key, hint=usual)
    words = [str(word) for word in command]
    for word in words:
        if word.startswith("${") and word not in _MACROS and not _VARIABLE.fullmatch(word):
            raise UserError(f"{word} is not filled in", key=key, hint=nearest(word, _MACROS))
    if not set(words) & set(_ARGS):
        raise UserError("has no ${args}: the parameters would not arrive", key=key, hint=usual)
    return words


def expand(command: list[str], program: str, parameters: Mapping[str, Any]) -> list[str]:
    """The words to run for a trial; a value is written as `str` writes it, so a null is `None`.

    Args:
        command: The words of the file's `command`.
        program: The file's `program`.
        parameters: The trial's flags and their values.
    """
    single: dict[str, list[str]] = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [program],
        "${args}": [f"--{name}={value}" for name, value in parameters.items()],
        "${args_no_equals}": [part for name, value in parameters.items() for part in (f"--{name}", str(value))],
        "${args_no_hyphens}": [f"{name}={value}" for name, value in parameters.items()],
    }
    words = [word for chunk in command for word in single.get(chunk, [chunk])]
    return [_VARIABLE.sub(lambda found: os.environ.get(found.group(1), found.group(1)), word) for word in words]


def in_words(parameters: Mapping[str, Any]) -> str:
    """Parameters in one short line, for people: `path=VP lr=0.001`."""
    short = {name: name.rpartition(".")[2] for name in parameters}
    twice = {word for word in short.values() if list(short.values()).count(word) > 1}
    told = {name if word in twice else word: parameters[name] for name, word in short.items()}
    return " ".join(f"{name}={in_word(value)}" for name, value in told.items())


def in_word(value: Any) -> str:
    """A value for people: a text as it is, numbers shortened."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
