"""Nearest training neighbours and the memorisation ratio, against brute force and closed forms."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

import fmlab.metrics.neighbours as neighbours
from fmlab.errors import UserError
from fmlab.metrics.neighbours import NearestNeighbours, memorisation, nearest_rows


def uniform(n: int, *event: int, seed: int) -> Tensor:
    return torch.rand(n, *event, generator=torch.Generator().manual_seed(seed))


def images(n: int, seed: int) -> Tensor:
    return (256 * uniform(n, 3, 4, 4, seed=seed)).to(torch.uint8)


@pytest.mark.parametrize("entries", [48, 400, 2**22])
@pytest.mark.parametrize("make", [images, lambda n, seed: 5 + uniform(n, 6, seed=seed)], ids=["images", "points"])
def test_the_nearest_is_the_nearest_whatever_the_blocks(make, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_ENTRIES", entries)
    x, y = make(23, 0), make(37, 1)
    distances, rows = nearest_rows(x, y)
    expected = torch.stack([(y.double() - one.double()).square().flatten(1).mean(1).sqrt() for one in x])
    torch.testing.assert_close(distances, expected.amin(1))
    assert torch.equal(rows, expected.argmin(1))
    assert nearest_rows(x[:0], y)[0].shape == nearest_rows(x[:0], y)[1].shape == (0,)


def test_copies_have_distance_0_exactly_and_their_own_rows() -> None:
    """Also far from 0, where squares of large numbers would cancel."""
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    for y in (images(300, 0), 1e6 + 1e-3 * uniform(300, 5, seed=1).double()):
        distances, rows = nearest_rows(y[order], y)
        assert distances.max().item() == 0
        assert torch.equal(rows, order)


def test_pairs_stand_nearest_first_with_their_rows_and_places() -> None:
    metric = NearestNeighbours(torch.tensor([[0.0], [10.0]]), torch.tensor([[2.0], [4.0]]))
    metric.update(torch.tensor([[3.0], [10.0]]))
    metric.update(torch.tensor([[1.0]]))
    metric.compute()
    assert metric.pairs.tolist() == [[0, 1, 1], [1, 0, 2], [3, 0, 0]]


def test_copies_have_ratio_0_and_new_draws_ratio_1() -> None:
    training, held_out, fresh = (uniform(n, 2, seed=n) for n in (3000, 1000, 1500))
    copies, draws = NearestNeighbours(training, held_out), NearestNeighbours(training, held_out)
    copies.update(training[:700])
    values = copies.compute()
    assert values["neighbour_ratio"] == values["neighbour_ratio_std"] == copies.pairs[:, 0].max() == 0
    assert values["neighbour_share"] == 1
    draws.update(fresh)
    values = draws.compute()
    assert values["neighbour_ratio"] == pytest.approx(1, abs=3 * values["neighbour_ratio_std"])
    assert values["neighbour_share"] == pytest.approx(0.01, abs=3 * values["neighbour_share_std"])
    assert 0 < values["neighbour_ratio_std"] < 0.05
    # A disc of radius r is clear of n uniform points with probability exp(-n pi r^2); an entry has 1 / sqrt 2 of r.
    assert float(draws.pairs[:, 0].median()) == pytest.approx(math.sqrt(math.log(2) / (3000 * math.pi) / 2), rel=0.06)


def test_distances_are_a_root_mean_square_in_grey_levels() -> None:
    training = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    samples = torch.full((3, 1, 4, 4), 97, dtype=torch.uint8)
    metric = NearestNeighbours(training, training + 6)
    metric.update(samples)
    assert metric.neighbours()[0].tolist() == [3, 3, 3]
    values = metric.compute()
    assert values["neighbour_ratio"] == 0.5
    assert metric.held_out.tolist() == [6, 6]
    assert values["neighbour_share"] == 1


def test_the_error_of_a_ratio_is_that_of_two_medians() -> None:
    """Medians of n uniform numbers on [0, 1] have standard error 1 / (2 sqrt n), their ratio sqrt(1 / n + 1 / m)."""
    samples, held_out = uniform(4000, seed=0), uniform(1000, seed=1)
    result = memorisation(samples, held_out)
    assert result.ratio_error == pytest.approx(math.sqrt(1 / 4000 + 1 / 1000), rel=0.2)
    assert memorisation(samples, held_out) == result, "the bootstrap's draws are fixed"
    # The percentile moves with standard error sqrt(0.01 * 0.99 / m), and with it the share.
    assert result.share_error == pytest.approx(math.sqrt(0.0099 * (1 / 4000 + 1 / 1000)), rel=0.35)


def test_a_held_out_set_of_copies_leaves_no_ratio() -> None:
    assert math.isnan(memorisation(torch.ones(5), torch.zeros(5)).ratio)
    metric = NearestNeighbours(torch.zeros(3, 2), torch.zeros(5, 2))
    metric.update(torch.ones(4, 2))
    assert set(metric.compute()) == {"neighbour_share", "neighbour_share_std"}, "what has no value is left out"


def test_what_does_not_fit_is_refused() -> None:
    points = uniform(9, 2, seed=0)
    for training, held_out in ((points, uniform(9, 3, seed=0)), (points[:0], points), (points[:, 0], points[:, 0])):
        with pytest.raises(UserError):
            NearestNeighbours(training, held_out)
    metric = NearestNeighbours(points, points)
    metric.update(points[:1])
    with pytest.raises(UserError, match="1 samples and 9"):
        metric.compute()
    with pytest.raises(TypeError, match="uint8"):
        metric.update(images(2, 0))


def build() -> NearestNeighbours:
    return NearestNeighbours(uniform(50, 3, seed=0), uniform(20, 3, seed=1))


def measure(rank: int, file: str, folder: str) -> None:
    torch.set_num_threads(1)  # a forked process must not enter OpenMP's parallel regions
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    metric, rows = build(), uniform(31, 3, seed=2)
    results = []
    for shares in ([rows[:20], rows[20:]], [rows, rows[:0]]):
        metric.reset()
        if len(shares[rank]):
            metric.update(shares[rank])
        results.append(metric.compute())
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Also where one of them has no samples; the order of the samples is that of the ranks."""
    method = "fork" if sys.platform == "linux" else "spawn"
    mp.start_processes(measure, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2, start_method=method)
    alone = build()
    alone.update(uniform(31, 3, seed=2))
    for rank in range(2):
        for result in torch.load(tmp_path / f"rank{rank}.pt"):
            assert result == pytest.approx(alone.compute(), rel=1e-12)
