"""The cluster's own settings: the `--slurm.*` options, with defaults from one small file."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from fmlab.errors import UserError, nearest

FILE = "cluster.yaml"


@dataclass(frozen=True)
class Cluster:
    """What a cluster must be told; nodes, tasks and devices come from the trainer.

    Args:
        partition: The partition.
        account: The account that is charged.
        qos: The quality of service.
        constraint: Features that a node must have.
        time: The time limit, such as 12:00:00 or 2-00:00:00; the partition's own if left out.
        gpu: The kind of GPU, such as a100; any if left out.
        cpus_per_task: Processor cores for each process.
        mem: Memory of each node, such as 64G; the partition's own if left out.
        signal_seconds: How many seconds before the time limit the run is told to save and stop.
        modules: Modules to load, in order.
        container: The words before the command that run it in a container, such as `apptainer exec --nv image.sif`.
        setup: Lines of shell before the command.
        options: Further sbatch options, such as `--exclude=node7`.

    Raises:
        UserError: If a value is out of range, or would break the script.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | None = None
    gpu: str | None = None
    cpus_per_task: int = 4
    mem: str | None = None
    signal_seconds: int = 120
    modules: list[str] = field(default_factory=list)
    container: str | None = None
    setup: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            texts = value if isinstance(value, list) else [str(value)]
            if name != "setup" and not all(text.isprintable() for text in texts):  # setup is shell, of several lines
                raise UserError(f"a line break or control character in {value!r}", key=f"slurm.{name}")
        for name in ("cpus_per_task", "signal_seconds"):
            if getattr(self, name) < 1:
                raise UserError(f"at least 1, got {getattr(self, name)}", key=f"slurm.{name}")
        if self.time is not None and (seconds := limit_seconds(self.time)) <= self.signal_seconds:
            cause = f"{self.time} is {seconds} s, and the run is told to stop {self.signal_seconds} s before its end"
            raise UserError(cause, key="slurm.time", hint="give a longer time, or a smaller --slurm.signal_seconds")
        for option in self.options:
            if not option.startswith("-"):
                raise UserError(
                    f"{option!r} is no option of sbatch", key="slurm.options", hint="--exclude=node7 is one"
                )


def limit_seconds(text: str) -> int:
    """Converts SLURM's `minutes[:seconds]`, `hours:minutes:seconds` or `days-hours[:minutes[:seconds]]` to seconds.

    Raises:
        UserError: If the text has none of these forms.
    """
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", text):
        raise UserError(f"{text!r} is no time limit", key="slurm.time", hint="such as 12:00:00, 2-00:00:00 or 90")
    days, _, rest = text.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    if not days and len(numbers) < 3:
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def find_cluster_file(name: str | None) -> Path | None:
    """Finds the file of defaults: the one named, `cluster.yaml` here, or `fmlab/cluster.yaml` in `~/.config`.

    Raises:
        UserError: If the one named does not exist.
    """
    if name is not None:
        if not Path(name).is_file():
            raise UserError("no such file", key=f"--cluster {name}", hint=f"you are in {Path.cwd()}")
        return Path(name)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return next((file for file in (Path(FILE), home / "fmlab" / FILE) if file.is_file()), None)


def read_cluster(file: Path | None, options: Mapping[str, str]) -> Cluster:
    """Reads the cluster's settings: those of a file, and over them those that were typed.

    Args:
        file: A YAML file of `Cluster`'s arguments, or None.
        options: The typed values by their names.

    Raises:
        UserError: If a name is unknown or a value is of the wrong kind; the error says where it stands.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            # Every scalar stays text: YAML 1.1 would read the time 12:00:00 as a number.
            content = yaml.load(file.read_text(), yaml.BaseLoader) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"cannot be read: {str(error).splitlines()[0]}", key=str(file)) from error
        if not isinstance(content, dict):
            raise UserError("expected keys and values", key=str(file), hint="such as partition: gpu")
        values = {str(name): _convert(str(name), value, f"{file}: {name}") for name, value in content.items()}
    return Cluster(**values | {name: _convert(name, value, f"slurm.{name}") for name, value in options.items()})


def _convert(name: str, value: Any, key: str) -> Any:
    """Converts a text, or a list of texts, to the type of the option."""
    types = get_type_hints(Cluster)
    if name not in types:
        raise UserError("is no option of a cluster", key=key, hint=nearest(name, types))
    if types[name] == list[str]:
        values = yaml.load(value, yaml.BaseLoader) if isinstance(value, str) and value.startswith("[") else value
        values = [values] if isinstance(values, str) else values
        if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
            raise UserError(f"expected a list of words, got {values!r}", key=key)
        return values
    if not isinstance(value, str):
        raise UserError(f"expected one word, got {value!r}", key=key)
    if types[name] is int:
        if not value.isdigit():
            raise UserError(f"expected a whole number, got {value!r}", key=key)
        return int(value)
    return None if value in ("", "null", "~") else value
