"""Loaders: whole batches, labels, worker processes, and the state of a half-read epoch."""

from __future__ import annotations

import pytest
import torch

from fmlab.data import BatchLoader, BatchSet, OrderedBatches, ResumableLoader, ShardedBatches, TensorSet
from fmlab.errors import UserError


def numbers(size: int = 23, labels: torch.Tensor | None = None) -> TensorSet:
    return TensorSet(torch.arange(float(size)).unsqueeze(1), labels)


def rows(batches: object) -> list[list[int]]:
    return [batch.flatten().int().tolist() for batch in batches]  # type: ignore[attr-defined]


class Moody(BatchSet):
    """Fails on row 5."""

    labels = None
    content_hash = ""

    def __len__(self) -> int:
        return 8

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        if 5 in rows:
            raise UserError("row five is damaged", key="data.path", hint="mend it")
        return rows.unsqueeze(1)


def test_labels_come_with_their_examples() -> None:
    labelled = numbers(labels=torch.arange(23, dtype=torch.int32) * 10)
    for x, label in BatchLoader(labelled, ShardedBatches(23, 4)):
        assert label.dtype == torch.int64
        assert (x.flatten() * 10).equal(label.float())


def test_every_example_needs_a_label() -> None:
    with pytest.raises(UserError, match="23 examples"):
        numbers(labels=torch.zeros(22))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_continues_where_another_stopped(workers: int) -> None:
    whole = ResumableLoader(numbers(), ShardedBatches(23, 3), workers)
    whole.sampler.set_epoch(2)
    expected = rows(whole)
    assert len(expected) == len(whole) == 7
    first = ResumableLoader(numbers(), ShardedBatches(23, 3), workers)
    first.sampler.set_epoch(2)
    batches = iter(first)
    head = rows(next(batches) for _ in range(4))
    state = first.state_dict()
    assert state == {"epoch": 2, "rows": 12, "batches": 4}
    second = ResumableLoader(numbers(), ShardedBatches(23, 3), workers)
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert head + rows(second) == expected
    assert rows(second) == expected  # only the first pass is shortened


def test_the_iterator_may_be_made_before_the_state_and_the_epoch_are_known() -> None:
    loader = ResumableLoader(numbers(), ShardedBatches(23, 3))
    batches = iter(loader)
    loader.load_state_dict({"epoch": 2, "rows": 12})
    loader.sampler.set_epoch(2)
    rest = rows(batches)
    loader.sampler.set_epoch(2)
    assert rest == rows(loader)[4:]


def test_batches_of_another_size_continue_after_the_same_rows_however_often_they_are_resumed() -> None:
    """The trainer counts on from the batches of the first size: 4 of 6 rows are 8 of 3 rows, and 5 are 9."""
    order = rows(ResumableLoader(numbers(48), ShardedBatches(48, 3)))
    second = ResumableLoader(numbers(48), ShardedBatches(48, 3), finished=lambda: 5)
    second.load_state_dict({"epoch": 0, "rows": 24, "batches": 4})
    batches = iter(second)
    assert [rows([next(batches)])[0] for _ in range(3)] == order[8:11]
    state = second.state_dict()
    assert state == {"epoch": 0, "rows": 27, "batches": 5}, "one of the three was trained on"
    third = ResumableLoader(numbers(48), ShardedBatches(48, 3), finished=lambda: 5)
    third.load_state_dict(state)
    assert rows(third) == order[9:]


def test_the_state_of_one_epoch_does_not_shorten_another() -> None:
    loader = ResumableLoader(numbers(), ShardedBatches(23, 3))
    loader.load_state_dict({"epoch": 2, "rows": 21})
    loader.sampler.set_epoch(3)
    assert loader.state_dict() == {"epoch": 3, "rows": 0, "batches": 0}
    assert len(rows(loader)) == 7


def test_a_state_passes_from_one_process_to_two() -> None:
    alone = ResumableLoader(numbers(), ShardedBatches(23, 6))
    expected = rows(alone)
    batches = iter(alone)
    next(batches)
    ranks = [ResumableLoader(numbers(), ShardedBatches(23, 3, rank=rank, world_size=2)) for rank in (0, 1)]
    for loader in ranks:
        loader.load_state_dict(alone.state_dict())
    pairs = zip(*(rows(loader) for loader in ranks))
    assert [left + right for left, right in pairs] == expected[1:]


def test_a_batch_handed_out_but_not_trained_on_is_not_in_the_state() -> None:
    loader = ResumableLoader(numbers(), ShardedBatches(23, 3), finished=lambda: 1)
    batches = iter(loader)
    next(batches), next(batches)
    assert loader.state_dict()["rows"] == 3


def test_batches_leave_torchs_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    rows(ResumableLoader(numbers(), ShardedBatches(23, 3)))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_workers_error_keeps_its_one_line(workers: int) -> None:
    with pytest.raises(UserError) as caught:
        list(BatchLoader(Moody(), OrderedBatches(8, 2), workers))
    assert (caught.value.message, caught.value.key, caught.value.hint) == (
        "row five is damaged",
        "data.path",
        "mend it",
    )


def test_content_hash_sees_values_shape_and_dtype_but_not_labels() -> None:
    x = torch.arange(24, dtype=torch.uint8)
    first = TensorSet(x.view(2, 3, 2, 2)).content_hash
    assert TensorSet(x.view(2, 3, 2, 2), torch.zeros(2)).content_hash == first
    others = [x.view(2, 3, 4, 1), x.view(2, 3, 2, 2).float(), x.flip(0).view(2, 3, 2, 2)]
    assert len({first, *(TensorSet(other).content_hash for other in others)}) == 4
    assert len(first) == 64
