"""The sections that describe the run itself rather than a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class RunOptions:
    """Name and place of the run: its record goes to `dir/name/<id>/`.

    Args:
        name: The experiment's name; the first configuration file's name if left out.
        dir: The folder in which all runs live.
        tags: Words to find the run by.
    """

    name: str | None = None
    dir: str = "runs"
    tags: list[str] | None = None


@dataclass
class WandbOptions:
    """Weights & Biases.

    Args:
        mode: `auto` is online where the user is logged in, and offline elsewhere.
        project: The project's name.
        entity: The team or user; the account's own default if left out.
        group: Runs of one group are shown together.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "fmlab"
    entity: str | None = None
    group: str | None = None


@dataclass
class TensorboardOptions:
    """TensorBoard, which needs the package `tensorboard`.

    Args:
        enabled: Write its logs to the run's folder as well, as `tensorboard/`.
    """

    enabled: bool = False
