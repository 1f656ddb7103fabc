"""Every command that README, documents, experiments and sweeps show is one that the option grammar takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmlab.__main__ import verb_first
from fmlab.commands import VERBS, commands_of
from fmlab.config.options import parse_options

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "experiments").glob("*.yaml")),
    *sorted((ROOT / "sweeps").glob("*.yaml")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
]


def commands_in(file: Path) -> Iterator[list[str]]:
    """The words after `fmlab` of each command line in a file."""
    text = re.sub(r"\s*\\+\n[# ]*", " ", file.read_text(encoding="utf-8"))
    for line in text.splitlines():
        match = re.match(r"(?:    |# ?|\$ )(?:\w+=\S+ )*(?:.* && )?fmlab ([a-z].*)", line)
        if match and match.group(1).split()[0] in VERBS and "..." not in match.group(1):
            yield shlex.split(re.split(r"  #| or ", match.group(1))[0], comments=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_documented_commands_can_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for verb, *argv in map(verb_first, commands_in(file)):
        commands = commands_of(verb)
        if not commands:
            continue
        command = commands[""] if "" in commands else commands[argv.pop(0)]
        parse_options(command.options, argv, command.name)


def test_commands_are_found() -> None:
    commands = list(commands_in(ROOT / "README.md"))
    assert ["fit", "--config", "experiments/digits.yaml"] in commands
    assert len(commands) >= 10
