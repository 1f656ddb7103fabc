"""The words of a command line, taken apart: configuration files and dotted overrides."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

from fmlab.errors import UserError

_KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_NEGATIVE = re.compile(r"-(?:\d|\.\d|\.inf)")


@dataclass(frozen=True)
class Arguments:
    """What was asked for, in the order it was typed.

    Attributes:
        files: The `--config` files, which exist.
        overrides: Dotted keys and the text of their values.
    """

    files: list[Path] = field(default_factory=list)
    overrides: list[tuple[str, str]] = field(default_factory=list)


def parse_arguments(argv: list[str]) -> Arguments:
    """Takes `--config FILE`, `--a.b=c`, `--a.b c` and `a.b=c` apart.

    Raises:
        UserError: If a file is missing, a flag has no value, or a word is neither.
    """
    arguments, argv = Arguments(), list(argv)
    while argv:
        word = argv.pop(0)
        name, equals, text = word.partition("=")
        dashed = name.startswith("-")
        key = name.lstrip("-")
        if name in ("--config", "-c"):
            value = text if equals else take_value(name, argv)
            arguments.files.append(existing_file(value))
        elif dashed and not name.startswith("--"):
            raise UserError("is no option", key=name, hint="overrides have two dashes: --model.path=VP")
        elif not _KEY.fullmatch(key):
            raise UserError("is not a key", key=word, hint="an override reads --model.path=VP")
        elif not dashed and not equals:
            raise UserError("neither an option nor an override", key=word, hint=_stray(word))
        else:
            arguments.overrides.append((key, text if equals else take_value(name, argv)))
    return arguments


def existing_file(text: str) -> Path:
    """The path of a configuration file.

    Raises:
        UserError: If there is none, with the nearest file name of that folder.
    """
    path = Path(text)
    if path.is_file():
        return path
    folder = path.parent
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}", key=f"--config {text}", hint=f"you are in {Path.cwd()}")
    folders = [folder] + ([Path("experiments")] if folder == Path(".") and Path("experiments").is_dir() else [])
    files = [file for one in folders for file in sorted(one.iterdir()) if file.suffix in (".yaml", ".yml")]
    by_stem = {file.stem.lower(): file for file in reversed(files)}
    # By their stems: the common ending would make every file look like every other.
    close = difflib.get_close_matches(path.stem.lower(), by_stem, n=2)
    names = " or ".join(str(by_stem[stem]) for stem in close)
    choices = ", ".join(map(str, files[:6])) or "no YAML file"
    hint = f"did you mean {names}?" if close else f"there is {choices}"
    raise UserError("no such file", key=f"--config {text}", hint=hint)


def is_value(word: str) -> bool:
    """Whether a word may be the value of the option before it: it is no option, and may be a negative number."""
    return not word.startswith("-") or _NEGATIVE.match(word) is not None


def take_value(name: str, argv: list[str]) -> str:
    """Removes the value that stands after an option from `argv`, in place, and returns it.

    Raises:
        UserError: If there is none.
    """
    if argv and is_value(argv[0]):
        return argv.pop(0)
    if name in ("--config", "-c"):
        raise UserError("needs a file", key=name, hint="write --config experiments/digits.yaml")
    raise UserError("needs a value", key=name, hint=f"write {name}=true (or {name}=VALUE)")


def _stray(word: str) -> str:
    if word.endswith((".yaml", ".yml")):
        return f"write --config {word}"
    return "an override reads --model.path=VP"
