"""The starts of a run: each has the words that were typed, the complete configuration, and the step it began from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fmlab.records.atomic import atomic_write_json, make_folder
from fmlab.records.bounded import read_json_object
from fmlab.records.layout import RunLayout
from fmlab.records.meta import versions
from fmlab.records.secrets import values_without_secrets


@dataclass(frozen=True)
class Start:
    """One start of a run.

    Attributes:
        step: The optimizer step that it began from.
        command: What was typed.
        config: The complete configuration.
    """

    step: int
    command: str
    config: dict[str, Any]


def write_start(layout: RunLayout, step: int, typed: Sequence[str], config: Mapping[str, Any]) -> Path:
    """Records a start of a run, without secrets, and returns the file: `starts/0001.json` for the first.

    Args:
        layout: The run's folder.
        step: The optimizer step that it begins from.
        typed: The words after `fmlab fit`.
        config: The complete configuration.
    """
    make_folder(layout.starts)
    number = max((int(file.stem) for file in _files(layout)), default=0) + 1
    content = {
        "time": datetime.now().isoformat(timespec="microseconds"),
        "command": shlex.join(["fmlab", "fit", *values_without_secrets(list(typed))]),
        "step": step,
        "versions": versions(),
        "config": values_without_secrets(dict(config)),
    }
    file = layout.starts / f"{number:04d}.json"
    atomic_write_json(file, content)
    return file


def read_starts(layout: RunLayout) -> list[Start]:
    """Every start of a run that can be read, in their order."""
    starts = []
    for file in _files(layout):
        content = read_json_object(file)
        step, config = content.get("step"), content.get("config")
        if isinstance(step, int) and isinstance(config, dict):
            starts.append(Start(step, str(content.get("command", "")), config))
    return starts


def lasting_starts(starts: Sequence[Start]) -> list[Start]:
    """The starts that the run's state comes from: a start from step n leaves nothing of what came after step n."""
    lasting: list[Start] = []
    for start in starts:
        while lasting and lasting[-1].step >= start.step:
            lasting.pop()
        lasting.append(start)
    return lasting


def _files(layout: RunLayout) -> list[Path]:
    return sorted(file for file in layout.starts.glob("*.json") if file.stem.isdecimal())
