"""Fashion-MNIST and CIFAR-10 from the files torchvision uses, downloaded when they are not there."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from fmlab.data.base import ImageData, SplitName
from fmlab.data.sets import BatchSet, TensorSet
from fmlab.errors import UserError
from fmlab.records.pickles import read_arrays


class _PublishedImages(ImageData):
    """A published set with a training and a test part; the test part validates.

    Args:
        root: The folder of its files.

    Raises:
        UserError: When a number is not positive; in `prepare_data`, when the files are absent and cannot be had.
    """

    title: str
    where_to_put: str

    def __init__(
        self,
        root: str = "data",
        global_batch_size: int = 128,
        seed: int = 0,
        flip: bool = False,
        reference: SplitName = "train",
        limit: int | None = None,
    ) -> None:
        super().__init__(global_batch_size, seed, flip, reference, limit)
        self.root = root

    def prepare_data(self) -> None:
        """Downloads the files if they are not there; one process at a time, the others wait and find them."""
        if not self._missing():
            return
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            with FileLock(Path(self.root) / f".{type(self).__name__}.lock"):
                if self._missing():
                    self._download()
        except (OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise UserError(
                f"{self.title} is not in '{self.root}' and could not be downloaded ({reason})",
                key="data.root",
                hint=self.where_to_put.format(root=self.root),
            ) from error

    def read(self) -> tuple[BatchSet, BatchSet]:
        self.prepare_data()
        images, labels = self._part(train=True)
        rows = self.limited(len(images))
        return TensorSet(images[rows], labels[rows]), TensorSet(*self._part(train=False))

    @abstractmethod
    def _missing(self) -> list[Path]:
        """The files that are needed and not there."""

    @abstractmethod
    def _download(self) -> None:
        """Fetches the published archive, checks it, and unpacks it."""

    @abstractmethod
    def _part(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images (uint8, NCHW) and labels."""


class FashionMNIST(_PublishedImages):
    """Fashion-MNIST (Xiao et al., 2017): 60,000 and 10,000 grey images of clothes, 28 x 28, ten classes.

    The folder `root` holds `FashionMNIST/raw`, as torchvision lays it out.
    """

    shape = (1, 28, 28)
    num_classes = 10
    class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    title = "Fashion-MNIST"
    where_to_put = (
        "put {{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte.gz from http://fashion-mnist.s3-website.eu-central-1."
        "amazonaws.com into '{root}/FashionMNIST/raw'"
    )

    def _missing(self) -> list[Path]:
        raw = Path(self.root) / "FashionMNIST" / "raw"
        names = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
        return [raw / name for name in names if not (raw / name).is_file()]

    def _download(self) -> None:
        from torchvision import datasets

        datasets.FashionMNIST(self.root, download=True)

    def _part(self, train: bool) -> tuple[Tensor, Tensor]:
        from torchvision import datasets

        try:
            part = datasets.FashionMNIST(self.root, train=train, download=False)
            return _checked(part.data.unsqueeze(1), part.targets, self.shape)
        except Exception as error:  # a damaged file fails in the reader in any of many ways
            raise _damaged(Path(self.root) / "FashionMNIST" / "raw", error) from error


class CIFAR10(_PublishedImages):
    """CIFAR-10 (Krizhevsky, 2009): 50,000 and 10,000 colour images, 32 x 32, ten classes.

    The folder `root` holds `cifar-10-batches-py`, as torchvision lays it out.
    """

    shape = (3, 32, 32)
    num_classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    title = "CIFAR-10"
    where_to_put = "put cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz into '{root}'"

    def __init__(
        self,
        root: str = "data",
        global_batch_size: int = 128,
        seed: int = 0,
        flip: bool = True,
        reference: SplitName = "train",
        limit: int | None = None,
    ) -> None:
        super().__init__(root, global_batch_size, seed, flip, reference, limit)

    def _missing(self) -> list[Path]:
        return [path for train in (True, False) for path in self._files(train) if not path.is_file()]

    def _files(self, train: bool) -> list[Path]:
        folder = Path(self.root) / "cifar-10-batches-py"
        return [folder / f"data_batch_{number}" for number in range(1, 6)] if train else [folder / "test_batch"]

    def _download(self) -> None:
        from torchvision import datasets

        datasets.CIFAR10(self.root, download=True)  # checks the archive against its published md5

    def _part(self, train: bool) -> tuple[Tensor, Tensor]:
        images, labels = zip(*(self._batch(path) for path in self._files(train)))
        return torch.cat(images), torch.cat(labels)

    def _batch(self, path: Path) -> tuple[Tensor, Tensor]:
        try:
            with path.open("rb") as file:
                content = read_arrays(file, encoding="latin1")
            images = torch.from_numpy(np.ascontiguousarray(content["data"], dtype=np.uint8)).view(-1, *self.shape)
            return _checked(images, torch.tensor(content["labels"]), self.shape)
        except Exception as error:  # a damaged file fails in the reader in any of many ways
            raise _damaged(path, error) from error


def _checked(images: Tensor, labels: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    if images.shape[1:] != shape or labels.shape != images.shape[:1]:
        raise ValueError(f"images of shape {tuple(images.shape)} with labels of shape {tuple(labels.shape)}")
    return images, labels


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"'{path}' cannot be read ({reason})", key="data.root", hint="delete it and run again")
