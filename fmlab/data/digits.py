"""The handwritten digits that ship with scikit-learn: nothing to download."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.data.base import ImageData, fixed_permutation
from fmlab.data.sets import BatchSet, TensorSet

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
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        labels = torch.from_numpy(digits.target).long()
        train, validation = _stratified(labels)
        train = train[self.limited(len(train))]
        return TensorSet(images[train], labels[train]), TensorSet(images[validation], labels[validation])


def _stratified(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of the training and of the validation split, each in ascending order."""
    shuffled = fixed_permutation(len(labels))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        held_out[shuffled[labels[shuffled] == digit][:VALIDATION_PER_CLASS]] = True
    return (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)
