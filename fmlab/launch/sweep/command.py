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


def check_command(command: list[str]) -> None:
    """Refuses a file's `command` with a macro that is unknown, or without one that passes the parameters on."""
    for word in command:
        if word.startswith("${") and word not in _MACROS and not _VARIABLE.fullmatch(word):
            raise UserError(f"{word} is not filled in", key="command", hint=nearest(word, _MACROS))
    if not set(command) & set(_ARGS):
        hint = 'command: ["${env}", fmlab, fit, --config, experiments/digits.yaml, "${args}"]'
        raise UserError("has no ${args}: the parameters would not arrive", key="command", hint=hint)


def find_program(command: list[str]) -> list[str]:
    """Returns the words up to the first flag, without what starts Python: `["fmlab", "fit"]`."""
    argv = [word for word in command if word not in ("${env}", "/usr/bin/env", "${interpreter}")]
    if argv[:1] and Path(argv[0]).name.startswith("python"):
        argv = argv[1:]
    if argv[:2] == ["-m", "fmlab"]:
        argv = argv[1:]
    end = next((index for index, word in enumerate(argv) if word.startswith(("-", "${"))), len(argv))
    return [Path(argv[0]).name, *argv[1:end]] if end else []


def expand(command: list[str], program: str, parameters: Mapping[str, Any]) -> list[str]:
    """Returns the words to run for a trial; a value is written as `str` writes it, so a null is `None`."""
    replacements: dict[str, list[str]] = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [program],
        "${args}": [f"--{name}={value}" for name, value in parameters.items()],
        "${args_no_equals}": [part for name, value in parameters.items() for part in (f"--{name}", str(value))],
        "${args_no_hyphens}": [f"{name}={value}" for name, value in parameters.items()],
    }
    argv = [word for chunk in command for word in replacements.get(chunk, [chunk])]
    return [_VARIABLE.sub(lambda match: os.environ.get(match[1], match[1]), word) for word in argv]


def describe_parameters(parameters: Mapping[str, Any]) -> str:
    """Writes parameters in one short line, for people: `path=VP lr=0.001`."""
    tails = [name.rpartition(".")[2] for name in parameters]
    names = [tail if tails.count(tail) == 1 else name for tail, name in zip(tails, parameters)]
    return " ".join(f"{name}={describe_value(value)}" for name, value in zip(names, parameters.values()))


def describe_value(value: Any) -> str:
    """Writes a value for people: a text as it is, numbers shortened."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
