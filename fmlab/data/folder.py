"""Any set of images: a folder or a zip of files, with classes or without."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from fmlab.data.base import ImageData, SplitName, fixed_permutation
from fmlab.data.decoding import SUFFIXES, ImageFiles, processors
from fmlab.data.sets import BatchSet, TensorSet
from fmlab.errors import UserError

_VALIDATION_FOLDERS = ("validation", "val", "test")  # the first that is there validates


class ImageFolder(ImageData):
    """Images `class/name.png|jpg`, or `name.png|jpg` without classes, in a folder or a zip.

    Top-level folders `train` and one of `validation`, `val` and `test` are the splits. Without them, or with `train`
    alone, a fixed share of the images validates. Each image is turned upright, its shorter side is resized to `size`
    (antialiased), and the middle square is cut out. Images that fit in `memory_gib` are decoded once into memory.

    Args:
        path: The folder or the zip.
        size: The side of the square images, at least 1.
        channels: 3 for colour, 1 for grey.
        validation_fraction: The share of the images that validates where no folder says which, in (0, 1).
        memory_gib: How much memory the decoded images may take; a larger set is decoded anew in every epoch.
        num_workers: Processes that decode a set too large for memory; never more than there are processors.

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
    ) -> None:
        super().__init__(global_batch_size, seed, flip, reference, limit)
        if size < 1:
            raise UserError(f"must be at least 1, got {size}", key="data.size")
        if not 0 < validation_fraction < 1:
            raise UserError(f"must be between 0 and 1, got {validation_fraction}", key="data.validation_fraction")
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
        splits = (self._split(self._train), self._split(self._layout.validation))
        if not self.in_memory:
            return splits
        train, validation = (
            TensorSet(self._files.decode_all(split.names, *self.shape[:2]), split.labels) for split in splits
        )
        return train, validation

    def _split(self, names: list[str]) -> LazyImages:
        labels = None
        if self._layout.labels is not None:
            labels = torch.tensor([self._layout.labels[name] for name in names], dtype=torch.int64)
        return LazyImages(self._files, names, labels, self.shape)


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


@dataclass
class Layout:
    """Which files train, which validate, and their classes."""

    train: list[str]
    validation: list[str]
    labels: dict[str, int] | None
    class_names: list[str] | None


def arrange(names: list[str], validation_fraction: float) -> Layout:
    """Finds the splits and the classes in the names of the files.

    Args:
        names: Paths with forward slashes, sorted.
        validation_fraction: The share that validates where no folder says which.

    Raises:
        UserError: When the names are not laid out as `ImageFolder` says.
    """
    if not names:
        raise UserError(f"there are no images ({', '.join(SUFFIXES)}) in it", key="data.path")
    inside = _without_wrapper({name: name.split("/") for name in names})
    tops = {parts[0] for parts in inside.values() if len(parts) > 1}
    loose = any(len(parts) == 1 for parts in inside.values())
    train, validation = list(inside), []
    if not loose and "train" in tops and tops <= {"train", *_VALIDATION_FOLDERS}:
        held_out = next((folder for folder in _VALIDATION_FOLDERS if folder in tops), None)
        train = [name for name, parts in inside.items() if parts[0] == "train"]
        validation = [name for name, parts in inside.items() if parts[0] == held_out]
        inside = {name: inside[name][1:] for name in train + validation}
    labels, class_names = _classes(inside, train)
    if not validation:
        if len(train) < 2:
            raise UserError("one image is too few to train and validate", key="data.path")
        count = min(max(1, round(validation_fraction * len(train))), len(train) - 1)
        order = fixed_permutation(len(train))
        validation = [train[row] for row in order[:count].sort().values.tolist()]
        train = [train[row] for row in order[count:].sort().values.tolist()]
    return Layout(train, validation, labels, class_names)


def _without_wrapper(inside: dict[str, list[str]]) -> dict[str, list[str]]:
    """Drops a folder that wraps everything, as in a zip of `pets/cat/1.png` and `pets/dog/1.png`."""
    while len({parts[0] for parts in inside.values()}) == 1 and all(len(parts) > 2 for parts in inside.values()):
        if next(iter(inside.values()))[0] == "train":
            break
        inside = {name: parts[1:] for name, parts in inside.items()}
    return inside


def _classes(inside: dict[str, list[str]], train: list[str]) -> tuple[dict[str, int] | None, list[str] | None]:
    """The label of every file and the names of the classes; None for files that lie in no folder."""
    outside = next((name for name, parts in inside.items() if len(parts) == 1), None)
    in_folder = next((name for name, parts in inside.items() if len(parts) > 1), None)
    if in_folder is None:
        return None, None
    if outside is not None:
        raise UserError(f"'{outside}' lies in no class folder, but '{in_folder}' does", key="data.path")
    class_names = sorted({inside[name][0] for name in train})
    numbers = {name: number for number, name in enumerate(class_names)}
    unknown = next((name for name, parts in inside.items() if parts[0] not in numbers), None)
    if unknown is not None:
        raise UserError(f"'{unknown}' is of a class that the training images do not have", key="data.path")
    return {name: numbers[parts[0]] for name, parts in inside.items()}, class_names
