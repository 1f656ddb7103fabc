"""What a cluster wants to be told: the `--slurm.*` options, with defaults from one small file."""

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
    """A cluster's own words; nodes, tasks and devices come from the trainer.

    Args:
        partition: The partition.
        account: The account that is charged.
        qos: The quality of service.
        constraint: Features that a node must have.
        time: The time limit, such as 12:00:00 or 2-00:00:00; the partition's own if left out.
        gpu: The kind of GPU, such as a100; any if left out.
        cpus_per_task: Processor cores a process.
        mem: Memory a node, such as 64G; the partition's own if left out.
        signal_seconds: How long before the limit the run is told to save and stop.
        modules: Modules to load, in order.
        container: What stands before the command to run it in a container, such as `apptainer exec --nv image.sif`.
        setup: Lines of shell before the command.
        options: Further sbatch options, such as `--exclude=node7`.
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
        if self.cpus_per_task < 1:
            raise UserError(f"at least 1, got {self.cpus_per_task}", key="slurm.cpus_per_task")
        if self.signal_seconds < 1:
            raise UserError(f"at least 1, got {self.signal_seconds}", key="slurm.signal_seconds")
        if self.time is not None and (seconds := limit_seconds(self.time)) <= self.signal_seconds:
            cause = f"{self.time} is {seconds} s, and a run is told to stop {self.signal_seconds} s before its end"
            raise UserError(cause, key="slurm.time", hint="a longer time, or a smaller --slurm.signal_seconds")
        for option in self.options:
            if not option.startswith("-") or "\n" in option:
                cause = f"{option!r} is no option of sbatch"
                raise UserError(cause, key="slurm.options", hint="such as --exclude=node7")


def limit_seconds(text: str) -> int:
    """Seconds of SLURM's `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`.

    Raises:
        UserError: If it is none of these.
    """
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", text):
        raise UserError(f"{text!r} is no time limit", key="slurm.time", hint="such as 12:00:00, 2-00:00:00 or 90")
    days, _, rest = text.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    if days:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, [*numbers, 0][:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def cluster_file(named: str | None) -> Path | None:
    """The file of defaults: the one named, `cluster.yaml` here, or `fmlab/cluster.yaml` in the user's configuration.

    Raises:
        UserError: If the one named is not there.
    """
    if named is not None:
        if not Path(named).is_file():
            raise UserError("no such file", key=f"--cluster {named}", hint=f"you are in {Path.cwd()}")
        return Path(named)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return next((place for place in (Path(FILE), home / "fmlab" / FILE) if place.is_file()), None)


def read_cluster(file: Path | None, given: Mapping[str, str]) -> Cluster:
    """The cluster's words: a file's, and over them those that were typed.

    Args:
        file: A YAML file of `Cluster`'s arguments, or None.
        given: Values by name, as they were typed.

    Raises:
        UserError: If a name is unknown or a value is of the wrong kind, saying where it stands.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            # Every scalar as it is written: YAML 1.1 would read the time 12:00:00 as a number.
            stored = yaml.load(file.read_text(), yaml.BaseLoader) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"cannot be read: {str(error).splitlines()[0]}", key=str(file)) from error
        if not isinstance(stored, dict):
            raise UserError("holds no keys and values", key=str(file), hint="such as partition: gpu")
        values |= {str(name): _checked(str(name), value, f"{file}: {name}") for name, value in stored.items()}
    values |= {name: _checked(name, value, f"slurm.{name}") for name, value in given.items()}
    return Cluster(**values)


def _checked(name: str, value: Any, key: str) -> Any:
    hints = get_type_hints(Cluster)
    known = [each.name for each in dataclasses.fields(Cluster)]
    if name not in known:
        raise UserError("is no option of a cluster", key=key, hint=nearest(name, known))
    hint = hints[name]
    if hint == list[str]:
        value = yaml.load(value, yaml.BaseLoader) if isinstance(value, str) and value.startswith("[") else value
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise UserError(f"expected a list of words, got {value!r}", key=key)
        return value
    if not isinstance(value, str):
        raise UserError(f"expected one word, got {value!r}", key=key)
    if hint is int:
        if not value.isdigit():
            raise UserError(f"expected a whole number, got {value!r}", key=key)
        return int(value)
    return None if value in ("", "null", "~") else value
