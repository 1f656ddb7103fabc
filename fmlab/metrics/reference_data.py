"""What the metrics need of a data module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from torch import Tensor


class ReferenceData(Protocol):
    """A data set seen from the metrics; every `fmlab.data.DataModule` is one.

    Attributes:
        shape: Shape of one sample, (channels, height, width) for images.
        num_classes: Number of classes, None for an unlabelled set.
        class_names: Their names, where they have any.
        kind: `images` or `points`.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def num_classes(self) -> int | None: ...
    @property
    def class_names(self) -> Sequence[str] | None: ...
    @property
    def kind(self) -> str: ...

    def split(self, name: Literal["train", "validation"]) -> Any:
        """The examples of a split, with their number, `take(rows)` and `content_hash`; for held-out ones."""
        ...

    def training_examples(self) -> Tensor:
        """All examples that training saw, uint8 images or float points; for the nearest neighbours."""
        ...

    def reference_batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """The reference split: uint8 images (B, C, H, W), or float points (B, D)."""
        ...

    def reference_hash(self) -> str:
        """SHA-256 (hex) of the reference split's content."""
        ...

    def labelled_images(self, split: Literal["train", "validation"]) -> tuple[Tensor, Tensor]:
        """All uint8 images and int64 labels of the split `train` or `validation`."""
        ...
