"""Any set of images: a folder or a zip of files, with classes or without."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from fmlab.data.arrangement import arrange
from fmlab.data.base import ImageData, SplitName
from fmlab.data.files import ImageFiles, processors
from fmlab.data.sets import BatchSet, TensorSet
from fmlab.errors import UserError


class ImageFolder(ImageData):
    """Images `class/name.png`, or `name.png` without classes, in a folder or a zip, in any format that Pillow reads.

    Top-level folders such as `train`, `val` and `test` are the splits; beside `val`, `test` is left out. Without them,
    or with `train` alone, a fixed share of the images validates. Each image is laid over white, turned upright, its
    shorter side is resized to `size` (antialiased), and the middle square is cut out. Images that fit in `memory_gib`
    are decoded once into memory.

    Args:
        path: The folder or the zip.
        size: The side of the square images, at least 1.
        channels: 3 for colour, 1 for grey.
        validation_fraction: The share of the images that validates where no folder says which, in (0, 1).
        memory_gib: How much memory the decoded images may take; a larger set is decoded anew in every epoch.
        num_workers: Processes that decode a set too large for memory; never more than there are processors.
        skip_bad: Leave out up to this many damaged files; a set too large for memory is then decoded once more at the
            start to find them.

    Raises:
        UserError: When there are no images at `path`, they are not laid out like this, or a number is out of range.
    """

    def __init__(
        self,
        path: str,
        size: int,
        channels: Literal[1, 3] = 3,
        global_batch_size: int = 128,
        seed: int = 0,
        flip: bool = False,
        validation_fraction: float = 0.1,
        memory_gib: float = 4.0,
        num_workers: int = 4,
        reference: SplitName = "train",
        limit: int | None = None,
        skip_bad: int = 0,
    ) -> None:
        super().__init__(global_batch_size, seed, flip, reference, limit)
        if size < 1:
            raise UserError(f"must be at least 1, got {size}", key="data.size")
        if not 0 < validation_fraction < 1:
            raise UserError(f"must be between 0 and 1, got {validation_fraction}", key="data.validation_fraction")
        if skip_bad < 0:
            raise UserError(f"must be at least 0, got {skip_bad}", key="data.skip_bad")
        self.skip_bad = skip_bad
        self.damaged: list[str] = []
        self.path, self.shape = path, (channels, size, size)
        self._files = ImageFiles(path)
        self._layout = arrange(self._files.names, validation_fraction)
        self.class_names = self._layout.class_names
        self.num_classes = None if self.class_names is None else len(self.class_names)
        train = self._layout.train
        self._train = [train[row] for row in self.limited(len(train)).tolist()]
        nbytes = (len(self._train) + len(self._layout.validation)) * channels * size * size
        self.in_memory = nbytes <= memory_gib * 2**30
        self.num_workers = 0 if self.in_memory else min(num_workers, processors())

    def read(self) -> tuple[BatchSet, BatchSet]:
        self.damaged = []
        return self._split(self._train), self._split(self._layout.validation)

    def _split(self, names: list[str]) -> BatchSet:
        images, skip = None, self.skip_bad - len(self.damaged)
        damaged: list[str] = []
        channels, size = self.shape[:2]
        if self.in_memory:
            images, damaged = self._files.decode_all(names, channels, size, skip)
        elif self.skip_bad:
            damaged = self._files.find_damaged(names, channels, size, skip)
        self.damaged += damaged
        names = [name for name in names if name not in set(damaged)]
        if not names:
            raise UserError("no image of a split can be read", key="data.path")
        labels = None
        if self._layout.labels is not None:
            labels = torch.tensor([self._layout.labels[name] for name in names], dtype=torch.int64)
        return LazyImages(self._files, names, labels, self.shape) if images is None else TensorSet(images, labels)

    @property
    def left_out(self) -> Sequence[str]:
        unused = [f"{count:,} images in '{folder}'" for folder, count in self._layout.unused.items()]
        damaged = [f"{len(self.damaged)} damaged ({_some(self.damaged)})"] if self.damaged else []
        others = [f"{len(names):,} {reason} ({_some(names)})" for reason, names in self._files.left_out.items()]
        return [*unused, *damaged, *others]


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")


class LazyImages(BatchSet):
    """Images that are decoded when they are asked for.

    Args:
        files: Where they are.
        names: Which of the files, in the order of the rows.
        labels: Their classes, int64, or None.
        shape: The shape of an image, (channels, size, size).
    """

    def __init__(self, files: ImageFiles, names: list[str], labels: Tensor | None, shape: tuple[int, ...]) -> None:
        self.files, self.names, self.labels, self.shape = files, names, labels, shape

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Tensor) -> Tensor:
        images = torch.empty(len(rows), *self.shape, dtype=torch.uint8)
        for index, row in enumerate(rows.tolist()):
            images[index] = torch.from_numpy(self.files.decode(self.names[row], *self.shape[:2]).copy())
        return images

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the files' own bytes and of the size they are decoded to: decoding them all would take hours."""
        digest = hashlib.sha256(f"files {self.shape}\n".encode())
        for name in self.names:
            digest.update(hashlib.sha256(self.files.read(name)).digest())
        return digest.hexdigest()

    @property
    def fingerprint_of(self) -> str:
        return "names and sizes" if self.files.path.is_dir() else "names, sizes and checksums"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the files' names and sizes: nothing is read."""
        digest = hashlib.sha256(f"files {self.shape}\n".encode())
        for name in self.names:
            digest.update(f"{name} {self.files.identity(name)}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()
