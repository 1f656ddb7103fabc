"""Who reads which rows: the same rows a step however they are shared, fresh every epoch, nothing read twice."""

from __future__ import annotations

import pytest
import torch

from fmlab.data import OrderedBatches, ShardedBatches, device_batch_size
from fmlab.data.order import shared_batch_size
from fmlab.errors import UserError
from fmlab.random import Purpose, keyed_generator

SIZE, GLOBAL = 59, 12  # four steps, and a rest that would fill a batch of one process but not a step


def steps(world_size: int, accumulate: int, epoch: int = 0, seed: int = 7) -> list[list[int]]:
    """The rows of every optimizer step, in the order (accumulation index, rank)."""
    batch_size = device_batch_size(GLOBAL, world_size, accumulate)
    ranks = []
    for rank in range(world_size):
        order = ShardedBatches(SIZE, batch_size, rank=rank, world_size=world_size, accumulate=accumulate, seed=seed)
        order.set_epoch(epoch)
        ranks.append([batch.tolist() for batch in order])
        assert len(ranks[-1]) == len(order) == 4 * accumulate
    rows = []
    for step in range(4):
        shards = [ranks[rank][step * accumulate + index] for index in range(accumulate) for rank in range(world_size)]
        assert all(len(shard) == batch_size for shard in shards)
        rows.append([row for shard in shards for row in shard])
    return rows


@pytest.mark.parametrize(("world_size", "accumulate"), [(2, 1), (1, 2), (2, 2), (3, 1), (1, 4), (4, 3)])
def test_a_step_reads_the_same_rows_however_they_are_shared(world_size: int, accumulate: int) -> None:
    assert steps(world_size, accumulate) == steps(1, 1)


def test_two_processes_read_what_two_accumulated_batches_read() -> None:
    processes = [ShardedBatches(SIZE, 6, rank=rank, world_size=2) for rank in (0, 1)]
    alone = list(ShardedBatches(SIZE, 6, accumulate=2))
    assert [batch.tolist() for pair in zip(*processes) for batch in pair] == [batch.tolist() for batch in alone]


def test_an_epoch_reads_no_row_twice_and_drops_what_fills_no_step() -> None:
    rows = [row for step in steps(2, 1) for row in step]
    assert len(rows) == len(set(rows)) == 48
    dropped = [set(range(SIZE)) - {row for step in steps(1, 1, epoch) for row in step} for epoch in range(3)]
    assert all(len(rest) == 11 for rest in dropped)
    assert dropped[0] != dropped[1] or dropped[1] != dropped[2]


def test_order_is_keyed_by_seed_and_epoch() -> None:
    assert steps(1, 1, epoch=3) == steps(1, 1, epoch=3)
    assert steps(1, 1, epoch=3) != steps(1, 1, epoch=4)
    assert steps(1, 1, seed=7) != steps(1, 1, seed=8)
    permutation = torch.randperm(SIZE, generator=keyed_generator(Purpose.ORDER, 7, 3))
    assert steps(1, 1, epoch=3)[0] == permutation[:GLOBAL].tolist()


def test_starting_later_leaves_out_the_first_batches() -> None:
    order = ShardedBatches(SIZE, 5, rank=1, world_size=2, seed=2)
    order.set_epoch(4)
    whole = [batch.tolist() for batch in order]
    assert [batch.tolist() for batch in order.starting_at(3)] == whole[3:]
    assert list(order.starting_at(len(order))) == []


def test_repeating_the_first_order_ignores_the_epoch() -> None:
    order = ShardedBatches(SIZE, 5, repeat_first=True)
    first = [batch.tolist() for batch in order]
    order.set_epoch(9)
    assert [batch.tolist() for batch in order] == first


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 8, 9, 24, 25])
def test_evaluation_reads_every_row_once_in_order(size: int, world_size: int) -> None:
    ranks = [OrderedBatches(size, 4, rank=rank, world_size=world_size) for rank in range(world_size)]
    lengths = [len(rank) for rank in ranks]
    assert lengths == [len(list(rank)) for rank in ranks]
    assert max(lengths) - min(lengths) <= 1
    dealt = [batch for turn in range(max(lengths)) for rank in ranks for batch in list(rank)[turn : turn + 1]]
    assert torch.cat(dealt).equal(torch.arange(size))


def test_device_batch_size_divides_or_says_why_not() -> None:
    assert device_batch_size(128, 4, 2) == 16
    with pytest.raises(UserError) as caught:
        device_batch_size(128, 3, 2)
    assert caught.value.key == "data.global_batch_size"
    assert "3 (devices x nodes) x 2 (trainer.accumulate_grad_batches) = 6" in caught.value.message
    assert "126 or 132" in str(caught.value.hint)
    with pytest.raises(UserError) as caught:
        device_batch_size(3, 8)
    assert str(caught.value.hint).endswith(" 8")


@pytest.mark.parametrize("size", [3, 5, 8, 9, 24, 25, 1000])
def test_no_rank_validates_nothing(size: int) -> None:
    batch = shared_batch_size(8, size, 3)
    shares = [OrderedBatches(size, batch, rank=rank, world_size=3) for rank in range(3)]
    assert all(len(share) > 0 for share in shares)
    assert sorted(int(row) for share in shares for rows in share for row in rows) == list(range(size))
    if size > 16:
        assert batch == 8, "larger sets keep their batches, and the draws that go with them"


def test_fewer_examples_than_processes_are_refused() -> None:
    with pytest.raises(UserError, match="2 examples for 3 processes"):
        shared_batch_size(8, 2, 3)
