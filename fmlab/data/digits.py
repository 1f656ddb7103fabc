"""The handwritten digits that ship with scikit-learn: nothing to download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fmlab.data.base import ImageData, fixed_permutation
from fmlab.data.sets import BatchSet, TensorSet
from fmlab.errors import UserError

VALIDATION_PER_CLASS = 36


class Digits(ImageData):
    """1,797 grey images of handwritten digits, 8 x 8, ten classes (UCI optdigits test set, from scikit-learn).

    The validation split is 36 images of each class, the same on every machine and in every run; the other 1,437 are the
    training split. The seventeen grey levels 0..16 become round(255 v / 16).
    """

    shape = (1, 8, 8)
    num_classes = 10
    class_names = tuple("0123456789")
    grey_levels = tuple(round(255 * level / 16) for level in range(17))

    def read(self) -> tuple[BatchSet, BatchSet]:
        table = torch.from_numpy(np.loadtxt(_digits_file(), delimiter=","))
        images = (table[:, :-1].reshape(-1, *self.shape) * (255 / 16)).round().to(torch.uint8)
        labels = table[:, -1].long()
        train, validation = _stratified(labels)
        train = train[self.limited(len(train))]
        return TensorSet(images[train], labels[train]), TensorSet(images[validation], labels[validation])


def _digits_file() -> Path:
    """The file that `sklearn.datasets.load_digits` reads; to import that function takes longer than a second."""
    sklearn = find_spec("sklearn")
    if sklearn is None or sklearn.origin is None:
        raise UserError("the digits come with scikit-learn, which is not installed", key="data")
    return Path(sklearn.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _stratified(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of the training and of the validation split, each in ascending order."""
    shuffled = fixed_permutation(len(labels))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        held_out[shuffled[labels[shuffled] == digit][:VALIDATION_PER_CLASS]] = True
    return (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)
