"""Halves of real data, and the processes that share the work."""

from __future__ import annotations

import torch

from fmlab.data import Digits
from fmlab.evaluation.distributed import ProcessGroup, process_group, rendezvous
from fmlab.metrics.halves import ReferenceHalf, reference_size


def test_two_halves_are_the_whole_once() -> None:
    data = Digits()
    halves = [ReferenceHalf(data, which) for which in (0, 1)]
    parts = [torch.cat(list(half.reference_batches(100))) for half in halves]
    assert [len(half) for half in halves] == [len(images) for images in parts]
    assert sum(len(half) for half in halves) == reference_size(data) == 1437
    whole = torch.cat(list(data.reference_batches(500)))
    assert torch.equal(torch.cat(parts).flatten(1).sum(0), whole.flatten(1).sum(0))


def test_every_batch_is_one_process_s() -> None:
    for count in (1, 2, 3, 7):
        shares = [list(ProcessGroup(rank, count).share(5)) for rank in range(count)]
        assert sorted(index for share in shares for index in share) == list(range(5))


def test_processes_are_found_in_the_environment() -> None:
    """Of torchrun, of srun, and of a job's step that has fewer tasks than the job."""
    assert process_group({}) == ProcessGroup(0, 1, 0)
    assert process_group({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "SLURM_NTASKS": "9"}) == ProcessGroup(
        3, 4, 1
    )
    slurm = {"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "1234567"}
    assert process_group(slurm) == ProcessGroup(5, 8, 1)
    assert process_group({**slurm, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) == ProcessGroup(0, 1, 1)
    assert rendezvous({**slurm, "SLURM_JOB_NODELIST": "node[07-09,12],other"}) == ("node07", 19567)
    assert rendezvous({**slurm, "SLURM_JOB_NODELIST": "a1,a2"})[0] == "a1"
    assert rendezvous({"MASTER_ADDR": "host", "MASTER_PORT": "7"}) == ("host", 7)


def test_one_process_speaks_with_itself() -> None:
    alone = ProcessGroup()
    assert alone.total(1.5, 2) == [1.5, 2]
    assert alone.from_first("x") == "x"
    assert alone.device("cpu") == "cpu"
