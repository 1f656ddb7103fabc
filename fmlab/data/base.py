"""What every data module promises, so that models, sample grids and metrics work on any of them.

| member | what it states |
| --- | --- |
| `shape` | the shape of one example, without the batch dimension |
| `kind` | `images`: uint8 in the loaders, float in [-1, 1] on the device; `points`: float throughout |
| `num_classes`, `class_names` | the condition: labels 0 to `num_classes - 1` and their names; None without labels |
| `read()` | the training and the validation split, two `BatchSet`s |
| `augment(x, generator)` | a float batch, augmented at random on its device; by default it is left as it is |
| `reference` | the split that generated examples are compared with: `train` or `validation` |

A training batch is `(x, label)`, with labels int64 of shape (B,), or `x` alone without labels; a data module that
brings a source for each example gives a mapping with `data` and `source`. Everything else is derived from these.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from fmlab.data.contract import split_fingerprint
from fmlab.data.loading import BatchLoader, ResumableLoader
from fmlab.data.order import OrderedBatches, ShardedBatches, device_batch_size, shared_batch_size
from fmlab.data.pixels import to_float
from fmlab.data.progress import finished_batches, forget_finished_epoch
from fmlab.data.sets import BatchSet, TensorSet
from fmlab.errors import UserError
from fmlab.random import Purpose, fixed_generator, keyed_generator

SplitName = Literal["train", "validation"]
_FIXED = 20_240_601  # the key of what belongs to the data and not to a run: the validation images, those of a limit


class DataModule(LightningDataModule):
    """A training and a validation split, batched for any number of devices.

    A subclass states `shape`, `kind` and the classes, and implements `read`.

    Attributes:
        shape: The shape of one example, without the batch dimension.
        num_classes: How many classes there are, or None without labels.
        condition_dim: The length of conditions that are vectors, in the labels' place; None without them.
        class_names: Their names in the order of the labels, or None.
        kind: "images" or "points".
        num_workers: Processes that prepare batches ahead.

    Args:
        global_batch_size: Examples an optimizer step, over all devices and accumulated batches.
        seed: The key of the training order.
        reference: The split that generated examples are compared with.

    Raises:
        UserError: When the batch size is not positive.
    """

    shape: tuple[int, ...]
    num_classes: int | None = None
    condition_dim: int | None = None
    class_names: Sequence[str] | None = None
    kind: Literal["images", "points"]
    num_workers: int = 0

    def __init__(self, global_batch_size: int, seed: int = 0, reference: SplitName = "train") -> None:
        super().__init__()
        if global_batch_size < 1:
            raise UserError(f"must be at least 1, got {global_batch_size}", key="data.global_batch_size")
        self.global_batch_size, self.seed, self.reference = global_batch_size, seed, reference
        # With few examples and many devices a rank may have nothing to validate on.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def __repr__(self) -> str:
        classes = "" if self.num_classes is None else f", {self.num_classes} classes"
        return f"{type(self).__name__}({self.kind} of shape {tuple(self.shape)}{classes})"

    __str__ = __repr__  # Lightning's asks loaders that are not made yet

    @abstractmethod
    def read(self) -> tuple[BatchSet, BatchSet]:
        """Reads the training and the validation split; called once a process, when they are first needed."""

    def split(self, name: SplitName) -> BatchSet:
        """The examples of a split."""
        return self._splits[("train", "validation").index(name)]

    @cached_property
    def _splits(self) -> tuple[BatchSet, BatchSet]:
        return self.read()

    # What Lightning calls.

    def setup(self, stage: str | None = None) -> None:
        _ = self._splits

    def train_dataloader(self) -> ResumableLoader:
        rank, world_size, accumulate = self._parallel()
        batch_size = device_batch_size(self.global_batch_size, world_size, accumulate)
        train = self.split("train")
        if len(train) < self.global_batch_size:
            raise UserError(
                f"{self.global_batch_size} is more than the {len(train)} training examples",
                key="data.global_batch_size",
                hint=f"at most {len(train) - len(train) % (world_size * accumulate)}",
            )
        order = ShardedBatches(
            len(train),
            batch_size,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
            seed=self.seed,
            repeat_first=self.trainer is not None and getattr(self.trainer, "overfit_batches", 0) > 0,
        )
        if self.trainer is None:
            return ResumableLoader(train, order, self.num_workers)
        forget_finished_epoch(self.trainer)
        finished = partial(finished_batches, self.trainer)
        return ResumableLoader(train, order, self.num_workers, self._pin_memory(), finished)

    def val_dataloader(self) -> BatchLoader:
        rank, world_size, accumulate = self._parallel()
        validation = self.split("validation")
        training_size = max(1, self.global_batch_size // (world_size * accumulate))
        batch_size = shared_batch_size(training_size, len(validation), world_size)
        order = OrderedBatches(len(validation), batch_size, rank=rank, world_size=world_size)
        return BatchLoader(validation, order, self.num_workers, self._pin_memory())

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Scales images to [-1, 1] on the device."""
        if self.kind != "images":
            return batch
        return to_float(batch) if isinstance(batch, Tensor) else (to_float(batch[0]), *batch[1:])

    def _parallel(self) -> tuple[int, int, int]:
        """Rank, world size and accumulated batches."""
        if self.trainer is None:
            return 0, 1, 1
        return self.trainer.global_rank, self.trainer.world_size, self.trainer.accumulate_grad_batches

    def _pin_memory(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    # What models, grids and metrics call.

    @property
    def augments(self) -> bool:
        """Whether `augment` does anything; where it does not, training need not make a generator for it."""
        return type(self).augment is not DataModule.augment

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a float batch, on its device, with a generator on that device; here it changes nothing."""
        return x

    def reference_batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """The reference split in order, without labels: uint8 images or float points.

        Args:
            batch_size: Examples a batch; the last one may be smaller.
            rank: Which of the shares to read; the shares of all ranks are the split, each example once.
            world_size: How many shares there are.
        """
        split = self.split(self.reference)
        order = OrderedBatches(len(split), batch_size, rank=rank, world_size=world_size)
        for batch in BatchLoader(split, order, self.num_workers):
            yield batch if isinstance(batch, Tensor) else batch[0]

    def reference_hash(self) -> str:
        """SHA-256 of the reference split's content, in hexadecimal; computed once."""
        return self.split(self.reference).content_hash

    @property
    def left_out(self) -> Sequence[str]:
        """What of the data is not used, and why, a few words each; for the line at the start of a run."""
        return ()

    def fingerprint(self, name: SplitName) -> str:
        """A hash (hex) by which a run remembers a split and its labels."""
        return split_fingerprint(self.split(name))

    def training_examples(self) -> Tensor:
        """All examples that training sees, as the split holds them: uint8 images or float points.

        Raises:
            UserError: When they are not in memory.
        """
        train = self.split("train")
        if not isinstance(train, TensorSet):
            raise UserError(f"the {len(train):,} training examples of {type(self).__name__} are not in memory")
        return train.x

    def label_frequencies(self) -> Tensor | None:
        """The share of each class in the training split: float64 of shape (num_classes,), or None without labels."""
        labels = self.split("train").labels
        if labels is None or self.num_classes is None:
            return None
        return labels.bincount(minlength=self.num_classes).double() / len(labels)

    def labelled_images(self, split: SplitName) -> tuple[Tensor, Tensor]:
        """All examples of a split (uint8 images) and their labels (int64).

        Raises:
            UserError: When there are no labels, or the split is not in memory.
        """
        examples = self.split(split)
        if examples.labels is None:
            raise UserError(f"{type(self).__name__} has no labels here")
        if not isinstance(examples, TensorSet):
            raise UserError(f"the {split} images of {type(self).__name__} do not fit in memory")
        return examples.x, examples.labels


class ImageData(DataModule):
    """A data module of uint8 images (C, H, W).

    Attributes:
        grey_levels: The values that a pixel of the images can take, in ascending order.

    Args:
        global_batch_size: Images an optimizer step, over all devices and accumulated batches.
        seed: The key of the training order.
        flip: Mirror each training image left to right with probability 1/2.
        reference: The split that generated images are compared with.
        limit: Train on this many images, the same in every run; None means all of them.

    Raises:
        UserError: When a number is not positive.
    """

    kind = "images"
    grey_levels: Sequence[int] = range(256)

    def __init__(
        self,
        global_batch_size: int = 128,
        seed: int = 0,
        flip: bool = False,
        reference: SplitName = "train",
        limit: int | None = None,
    ) -> None:
        super().__init__(global_batch_size, seed, reference)
        if limit is not None and limit < 1:
            raise UserError(f"must be at least 1, got {limit}", key="data.limit")
        self.flip, self.limit = flip, limit

    @property
    def augments(self) -> bool:
        return self.flip or type(self).augment is not ImageData.augment

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Mirrors each image of a float batch with probability 1/2, if `flip` says so."""
        if not self.flip:
            return x
        mirrored = torch.rand(len(x), generator=generator, device=x.device) < 0.5
        return torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)

    def training_examples(self) -> Tensor:
        """All training images, and their mirror images where training sees those too."""
        images = super().training_examples()
        mirrors = self.flip and type(self).augment is ImageData.augment
        return torch.cat([images, images.flip(-1)]) if mirrors else images

    def limited(self, size: int) -> Tensor:
        """The rows of a training split of that size that remain under `limit`, in the split's own order."""
        if self.limit is None or self.limit >= size:
            return torch.arange(size)
        return fixed_permutation(size)[: self.limit].sort().values


def fixed_permutation(size: int) -> Tensor:
    """A permutation that depends on the size alone, never on a run's seed."""
    return torch.randperm(size, generator=fixed_generator(_FIXED, Purpose.ORDER))


FREQUENCIES = "by the frequencies of the training set"
"""The rule by which labels are drawn where nobody names them, in the words of a setting."""


def draw_labels(data: object, count: int, seed: int) -> Tensor:
    """One label per sample, drawn from the training set's frequencies with the seed's own key.

    Raises:
        UserError: If the data do not know the frequencies of their labels.
    """
    frequencies = getattr(data, "label_frequencies", lambda: None)()
    if frequencies is None:
        raise UserError(
            f"{type(data).__name__} does not know how frequent its labels are",
            key="labels",
            hint="such as --labels 0-9",
        )
    generator = keyed_generator(Purpose.LABELS, seed)
    return torch.multinomial(frequencies, count, replacement=True, generator=generator)
