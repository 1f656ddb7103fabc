"""What a run asks of a cluster, from the trainer's own settings, so that the two cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fmlab.errors import UserError


@dataclass(frozen=True)
class Allocation:
    """Nodes, processes and devices.

    Attributes:
        nodes: Machines.
        tasks_per_node: Processes a machine, one a device.
        gpus_per_node: GPUs a machine; 0 for a run on processors.
    """

    nodes: int
    tasks_per_node: int
    gpus_per_node: int


def allocation(trainer: Mapping[str, Any]) -> Allocation:
    """What the trainer section of a configuration needs.

    Args:
        trainer: Its `accelerator`, `devices` and `num_nodes`.

    Raises:
        UserError: If devices are not a number, or the accelerator is one that SLURM does not give out as GPUs.
    """
    accelerator, devices = str(trainer.get("accelerator", "auto")), trainer.get("devices", "auto")
    nodes = trainer.get("num_nodes", 1)
    if isinstance(devices, (list, tuple)) and devices and accelerator != "cpu":
        devices = len(devices)
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise UserError(
            f"{devices!r} is not known before the job has its nodes, and the job has to ask for so many",
            key="trainer.devices",
            hint="give a number: --trainer.devices=8",
        )
    if accelerator not in ("auto", "gpu", "cuda", "cpu"):
        raise UserError(f"{accelerator} is nothing that SLURM gives out", key="trainer.accelerator", hint="gpu or cpu")
    return Allocation(int(nodes), devices, 0 if accelerator == "cpu" else devices)
