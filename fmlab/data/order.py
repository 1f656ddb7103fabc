"""Which examples each process reads, batch by batch: a function of (seed, epoch) and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from fmlab.errors import UserError
from fmlab.random import Purpose, keyed_generator


class ShardedBatches(Sampler[Tensor]):
    """The training order of one rank: a fresh permutation every epoch, keyed by (seed, epoch).

    Global micro-batch j on rank r takes the entries from (j x world size + r) x batch size of the epoch's permutation.
    So an optimizer step takes the same rows whether they are shared by processes or by accumulated batches. The rest of
    the permutation that does not fill a whole step is dropped; it differs from epoch to epoch.

    Args:
        size: How many examples there are.
        batch_size: Examples a batch of one rank.
        rank: This process.
        world_size: How many processes there are.
        accumulate: Batches of one rank an optimizer step.
        seed: The key of the order.
        repeat_first: Repeat the order of epoch 0 in every epoch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        seed: int = 0,
        repeat_first: bool = False,
    ) -> None:
        self.size, self.batch_size = size, batch_size
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.seed, self.repeat_first = seed, repeat_first
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the permutation; Lightning calls this when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // (self.batch_size * self.world_size * self.accumulate) * self.accumulate

    def __iter__(self) -> Iterator[Tensor]:
        return self.starting_at(0)

    def starting_at(self, first: int) -> Iterator[Tensor]:
        """This epoch's batches of rows from the batch numbered `first` on."""
        key = 0 if self.repeat_first else self.epoch
        order = torch.randperm(self.size, generator=keyed_generator(Purpose.ORDER, self.seed, key))
        for index in range(first, len(self)):
            start = (index * self.world_size + self.rank) * self.batch_size
            yield order[start : start + self.batch_size]


class OrderedBatches(Sampler[Tensor]):
    """The evaluation order of one rank: the batches of the unshuffled rows, dealt to the ranks in turn.

    Nothing is dropped and nothing is read twice: the last batch may be smaller, and a rank may have one batch less.

    Args:
        size: How many examples there are.
        batch_size: Examples a batch of one rank.
        rank: This process.
        world_size: How many processes there are.
    """

    def __init__(self, size: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self.size, self.batch_size = size, batch_size
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[Tensor]:
        return self.starting_at(0)

    def starting_at(self, first: int) -> Iterator[Tensor]:
        """The batches of rows from this rank's batch numbered `first` on."""
        for start in self._starts()[first:]:
            yield torch.arange(start, min(start + self.batch_size, self.size))

    def _starts(self) -> range:
        return range(self.rank * self.batch_size, self.size, self.world_size * self.batch_size)


def shared_batch_size(batch_size: int, size: int, world_size: int) -> int:
    """`batch_size`, or less where `OrderedBatches` of that size would leave a rank without any: it would not take part.

    Args:
        batch_size: Examples a batch of one rank.
        size: How many examples there are.
        world_size: How many processes there are.

    Raises:
        UserError: When there are fewer examples than processes.
    """
    if 0 < size < world_size:
        cause = f"{size} examples for {world_size} processes, and each of them validates"
        raise UserError(cause, key="data", hint="fewer trainer.devices, or --trainer.limit_val_batches=0")
    return batch_size if (world_size - 1) * batch_size < size else size // world_size


def device_batch_size(global_batch_size: int, world_size: int = 1, accumulate: int = 1) -> int:
    """Examples a batch of one process: `global_batch_size / (world_size x accumulate)`.

    Args:
        global_batch_size: Examples an optimizer step, over all processes.
        world_size: Devices x nodes.
        accumulate: `trainer.accumulate_grad_batches`.

    Raises:
        UserError: When that is not a whole number.
    """
    parts = world_size * accumulate
    if global_batch_size >= parts and global_batch_size % parts == 0:
        return global_batch_size // parts
    below = global_batch_size // parts * parts
    raise UserError(
        f"{global_batch_size} examples cannot be shared equally by {world_size} (devices x nodes) x {accumulate} "
        f"(trainer.accumulate_grad_batches) = {parts} batches",
        key="data.global_batch_size",
        hint=f"the nearest that can: {below} or {below + parts}" if below else f"the nearest that can: {parts}",
    )
