"""Two real processes (gloo) measure what one measures, also when one of them has no samples, or a batch less."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from fmlab.metrics.classification import InceptionScore
from fmlab.metrics.frechet import FrechetDistance
from fmlab.metrics.kernel import KernelDistance, MaximumMeanDiscrepancy
from fmlab.metrics.prdc import PrecisionRecallDensityCoverage
from fmlab.metrics.transport import Wasserstein2


def build() -> list:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(60, 6, generator=generator)
    moments = SimpleNamespace(mu=reference.double().mean(0), sigma=reference.double().T.cov(), n=60)
    kernels = [KernelDistance(reference), Wasserstein2(reference), MaximumMeanDiscrepancy(reference)]
    return [FrechetDistance(moments), *kernels]


def build_placed() -> list:
    """Metrics that know each image by its place in the set."""
    moments = SimpleNamespace(mu=torch.zeros(6), sigma=torch.eye(6))
    reference = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    row_metrics = [kind(reference, 41) for kind in (KernelDistance, PrecisionRecallDensityCoverage)]
    return [FrechetDistance(moments, 41), InceptionScore(6, 41), *row_metrics]


def values(metrics: list) -> list[float]:
    return [float(value) for metric in metrics for value in metric.compute().values()]


def placed(batches: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each batch with the places of its rows in the set."""
    whole = torch.cat([*shares("one without samples")[0]])
    return [(batch, (batch[:, None] == whole).all(dim=2).nonzero()[:, 1]) for batch in batches]


def shares(case: str) -> list[list[Tensor]]:
    """The batches of the two ranks."""
    rows = torch.randn(41, 6, generator=torch.Generator().manual_seed(1)) * 1.2 + 0.3
    if case == "uneven":
        return [[rows[:20], rows[20:25]], [rows[25:]]]
    return [[rows], []]


def measure(rank: int, file: str, folder: str) -> None:
    torch.set_num_threads(1)  # a forked process must not enter OpenMP's parallel regions
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    results = {}
    for case in ("uneven", "one without samples"):
        metrics, by_place = build(), build_placed()
        for batch, places in placed(shares(case)[rank]):
            for metric in metrics:
                metric.update(batch)
            for metric in by_place:
                metric.update(batch, places)
        results[case] = values([*metrics, *by_place])
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    # A fork has torchmetrics imported already, which takes seconds.
    method = "fork" if sys.platform == "linux" else "spawn"
    mp.start_processes(measure, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2, start_method=method)
    for case in ("uneven", "one without samples"):
        metrics, by_place = build(), build_placed()
        for batch, places in placed([batch for share in shares(case) for batch in share]):
            for metric in metrics:
                metric.update(batch)
            for metric in by_place:
                metric.update(batch, places)
        alone = values([*metrics, *by_place])
        for rank in range(2):
            assert torch.load(tmp_path / f"rank{rank}.pt")[case] == pytest.approx(alone, rel=1e-9)
