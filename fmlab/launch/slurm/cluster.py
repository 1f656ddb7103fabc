"""The cluster's own settings: the `--slurm.*` options, with defaults from one small file."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmlab.config.build import Context, plan
from fmlab.config.values import read_file_and_texts, read_value
from fmlab.errors import UserError

FILE = "cluster.yaml"
LISTS = ("modules", "setup", "options")


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
    """Converts SLURM's `minutes[:seconds]`, `hours:minutes:seconds` or `days-hours[:minutes[:seconds]]` to seconds."""
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", text):
        raise UserError(f"{text!r} is no time limit", key="slurm.time", hint="such as 12:00:00, 2-00:00:00 or 90")
    days, _, rest = text.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    if not days and len(numbers) < 3:
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def find_cluster_file(name: str | None) -> Path | None:
    """Finds the file of defaults: the one named, `cluster.yaml` here, or `fmlab/cluster.yaml` in `~/.config`."""
    if name is not None:
        if not Path(name).is_file():
            raise UserError("no such file", key=f"--cluster {name}", hint=f"you are in {Path.cwd()}")
        return Path(name)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return next((file for file in (Path(FILE), home / "fmlab" / FILE) if file.is_file()), None)


def read_cluster(file: Path | None, options: Mapping[str, str]) -> Cluster:
    """Reads the cluster's settings: those of a YAML file, and over them those that were typed.

    Raises:
        UserError: If a name is unknown or a value is of the wrong kind; the error says where it stands.
    """
    content, texts = read_file_and_texts(file) if file else ({}, {})
    as_written = {
        str(file) + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys): pair
        for keys, pair in texts.items()
    }  # an account 0123 or a module 12.10 stays what it is
    typed = {name: read_value(text) for name, text in options.items()}
    # One word is a list of one, as it is written: a module 12.10 is no number.
    typed |= {name: [options[name]] for name, value in typed.items() if name in LISTS and not isinstance(value, list)}
    singles = {name: value for name, value in content.items() if name in LISTS and not isinstance(value, list)}
    content |= {name: [texts[(name,)][1] if (name,) in texts else value] for name, value in singles.items()}
    as_written |= {f"slurm.{name}": (typed[name], text) for name, text in options.items()}
    values: dict[str, Any] = {}
    for key, node in ((str(file), content), ("slurm", typed)):
        values |= plan(node, Cluster, key, Context(trust=False, texts=as_written)).written
    return Cluster(**values)
