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
        tasks_per_node: Tasks of SLURM on each machine.
        gpus_per_node: GPUs on each machine; 0 for a run on processors.
        processes_per_task: Processes that a task starts by itself, which share its processors and GPUs.
    """

    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    processes_per_task: int = 1


def allocation_of(trainer: Mapping[str, Any]) -> Allocation:
    """Computes what the trainer section of a configuration needs, with one task for each device.

    Args:
        trainer: Its `accelerator`, `devices` and `num_nodes`.

    Raises:
        UserError: If devices are not a number, or the accelerator is one that SLURM does not give out as GPUs.
    """
    accelerator, devices = str(trainer.get("accelerator", "auto")), trainer.get("devices", "auto")
    if isinstance(devices, (list, tuple)) and devices and accelerator != "cpu":
        devices = len(devices)
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        cause = f"SLURM must know the number of devices before the job starts, and {devices!r} does not say it"
        raise UserError(cause, key="trainer.devices", hint="give a number: --trainer.devices=8")
    if accelerator not in ("auto", "gpu", "cuda", "cpu"):
        raise UserError(f"SLURM has no {accelerator} to give out", key="trainer.accelerator", hint="gpu or cpu")
    return Allocation(int(trainer.get("num_nodes", 1)), devices, 0 if accelerator == "cpu" else devices)
