"""Loaders: they take whole batches of rows from a split, and the training loader resumes in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fmlab.data.order import OrderedBatches, ShardedBatches
from fmlab.data.sets import Batch, BatchSet
from fmlab.errors import UserError


class BatchLoader(Iterable[Batch]):
    """The batches of a split in a given order.

    It is not a `torch.utils.data.DataLoader`: for a tensor in memory that class adds a draw from torch's global
    generator an epoch, and Lightning's advice to start worker processes.

    Args:
        examples: The split.
        sampler: Which rows each batch takes. Lightning looks for it under this name and as `batch_sampler`.
        num_workers: Processes that prepare batches ahead; 0 prepares them in this process.
        pin_memory: Put batches in page-locked memory, from which they travel to a GPU asynchronously.
    """

    def __init__(
        self,
        examples: BatchSet,
        sampler: ShardedBatches | OrderedBatches,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.examples = examples
        self.sampler = self.batch_sampler = sampler
        self.num_workers, self.pin_memory = num_workers, pin_memory

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        return self._starting_at(0)

    def _starting_at(self, first: int) -> Iterator[Batch]:
        rows = self.sampler.starting_at(first)
        if self.num_workers == 0:
            for batch in map(self.examples.__getitems__, rows):
                yield _pinned(batch) if self.pin_memory else batch
            return
        workers: DataLoader = DataLoader(
            _ErrorsAsValues(self.examples),
            batch_sampler=list(rows),  # type: ignore[arg-type]
            num_workers=self.num_workers,
            collate_fn=_unchanged,
            pin_memory=self.pin_memory,
        )
        for batch in workers:
            if isinstance(batch, UserError):
                raise batch
            yield batch


class ResumableLoader(BatchLoader):
    """The training loader: its state is the epoch and how many of its rows have been trained on.

    Lightning saves `state_dict()` with every checkpoint and gives it back when a run is resumed. Then it creates the
    iterator, and only after that sets the epoch; so the iterator looks at neither until its first batch is taken.

    A batch that was handed out when an exception ended the run has not been trained on. Only the trainer knows, and
    `finished` asks it; without it every batch handed out counts.

    Args:
        examples: The split.
        sampler: Which rows each batch takes.
        num_workers: Processes that prepare batches ahead; 0 prepares them in this process.
        pin_memory: Put batches in page-locked memory.
        finished: How many of this epoch's batches have been trained on.
    """

    sampler: ShardedBatches

    def __init__(
        self,
        examples: BatchSet,
        sampler: ShardedBatches,
        num_workers: int = 0,
        pin_memory: bool = False,
        finished: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(examples, sampler, num_workers, pin_memory)
        self._finished = finished
        self._epoch = self._drawn = 0
        self._ahead = 0  # of the trainer's count, which began with batches of another size
        self._resumed = False

    def __iter__(self) -> Iterator[Batch]:
        resumes = self._resumed and self._epoch == self.sampler.epoch
        self._resumed, self._epoch = False, self.sampler.epoch
        self._drawn, self._ahead = (self._drawn, self._ahead) if resumes else (0, 0)
        for batch in self._starting_at(self._drawn):
            self._drawn += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the rows of it that all ranks together have trained on, and the batches as the trainer counts."""
        batches, ahead = (self._drawn, self._ahead) if self._epoch == self.sampler.epoch else (0, 0)
        if self._finished is not None:
            batches = min(batches, self._finished() + ahead)
        return {"epoch": self.sampler.epoch, "rows": batches * self._rows_per_batch, "batches": batches - ahead}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Makes the next iteration of that epoch begin after those rows; another epoch begins at its own start."""
        self.sampler.set_epoch(state["epoch"])
        self._epoch, self._drawn = state["epoch"], state["rows"] // self._rows_per_batch
        self._ahead = self._drawn - state.get("batches", self._drawn)
        self._resumed = True

    @property
    def _rows_per_batch(self) -> int:
        return self.sampler.batch_size * self.sampler.world_size


class _ErrorsAsValues(Dataset):
    """Hands a worker's UserError back as a value; as an exception it would arrive wrapped in the worker's traceback."""

    def __init__(self, examples: BatchSet) -> None:
        self.examples = examples

    def __getitems__(self, rows: Tensor) -> Batch | UserError:
        try:
            return self.examples.__getitems__(rows)
        except UserError as error:
            return error


def _unchanged(batch: Any) -> Any:
    return batch


def _pinned(batch: Batch) -> Batch:
    return batch.pin_memory() if isinstance(batch, Tensor) else (batch[0].pin_memory(), batch[1].pin_memory())
