"""The processes that share an evaluation, as torchrun or srun started them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from fmlab.errors import UserError, first_line


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those of the job.

    Attributes:
        rank: Its number.
        count: How many there are.
        local_rank: Its number on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0

    def share(self, batches: int) -> range:
        """The indices of the batches that are this process's."""
        return range(self.rank, batches, self.count)

    def device(self, named: str | None) -> str | None:
        """The device to compute on: of several GPUs each process of a machine takes its own."""
        if self.count == 1 or named not in (None, "cuda"):
            return named
        return f"cuda:{self.local_rank % torch.cuda.device_count()}" if torch.cuda.is_available() else named

    def total(self, *numbers: float) -> list[float]:
        """Each number summed over all processes, each of which enters."""
        if self.count == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def from_first(self, value: Any) -> Any:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]


def process_group(environment: Mapping[str, str]) -> ProcessGroup:
    """This process among those that torchrun or srun started; alone where neither did."""
    tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"  # a step may have fewer
    for count, rank, local in (("WORLD_SIZE", "RANK", "LOCAL_RANK"), (tasks, "SLURM_PROCID", "SLURM_LOCALID")):
        if count in environment and rank in environment:
            numbers = (environment[rank], environment[count], environment.get(local, "0"))
            return ProcessGroup(*map(int, numbers))
    return ProcessGroup()


def rendezvous(environment: Mapping[str, str]) -> tuple[str, int]:
    """Address and port at which the processes meet: as given, else from the SLURM job's nodes and number."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "127.0.0.1"
    first = re.sub(r"\[(\d+).*", r"\1", nodes).split(",")[0]
    port = 15_000 + int(environment.get("SLURM_JOB_ID", "0")[-4:])
    return environment.get("MASTER_ADDR", first), int(environment.get("MASTER_PORT", port))


@contextmanager
def join_processes(environment: Mapping[str, str] = os.environ) -> Iterator[ProcessGroup]:
    """Within, the processes of the job can speak with each other.

    Raises:
        UserError: If they do not find each other within ten minutes.
    """
    processes = process_group(environment)
    if processes.count == 1:
        yield processes
        return
    try:
        _connect(processes, environment)
    except (RuntimeError, ValueError, OSError) as error:
        address, port = rendezvous(environment)
        hint = "under SLURM, start them with srun" if "SLURM_NTASKS" in environment else None
        cause = f"{processes.count} processes do not meet at {address}:{port}: {first_line(error)}"
        raise UserError(cause, hint=hint) from error
    try:
        yield processes
    finally:
        dist.destroy_process_group()


def _connect(processes: ProcessGroup, environment: Mapping[str, str]) -> None:
    backend, store = "gloo", None
    if torch.cuda.is_available():
        torch.cuda.set_device(processes.local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    if "WORLD_SIZE" not in environment:  # torchrun has a store of its own
        address, port = rendezvous(environment)
        store = dist.TCPStore(address, port, processes.count, processes.first, timeout=timedelta(minutes=10))
    patience = timedelta(hours=6)  # one process may train a feature network while the others wait
    dist.init_process_group(backend, store=store, rank=processes.rank, world_size=processes.count, timeout=patience)
