"""The words of a command line, taken apart: configuration files and dotted overrides."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from fmlab.errors import UserError

KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_NEGATIVE = re.compile(r"-(?:\d|\.\d|\.inf)")


def parse_arguments(argv: list[str]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Takes `--config FILE`, `--a.b=c`, `--a.b c` and `a.b=c` apart.

    Returns:
        The files, which exist, and the dotted keys with the texts of their values, in the order they were typed.

    Raises:
        UserError: If a file is missing, a flag has no value, or a word is neither.
    """
    files: list[Path] = []
    overrides: list[tuple[str, str]] = []
    argv = list(argv)
    while argv:
        word = argv.pop(0)
        name, equals, text = word.partition("=")
        dashed = name.startswith("-")
        key = name.lstrip("-")
        if name in ("--config", "-c"):
            files.append(existing_file(text if equals else take_value(name, argv)))
        elif dashed and not name.startswith("--"):
            raise UserError("is no option", key=name, hint="overrides have two dashes: --model.path=VP")
        elif not KEY.fullmatch(key):
            raise UserError("is not a key", key=word, hint="an override reads --model.path=VP")
        elif not dashed and not equals:
            hint = f"write --config {word}" if word.endswith((".yaml", ".yml")) else "an override reads --model.path=VP"
            raise UserError("neither an option nor an override", key=word, hint=hint)
        else:
            overrides.append((key, text if equals else take_value(name, argv)))
    return files, overrides


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
