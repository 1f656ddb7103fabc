"""Into which split an image falls: from its place in the set alone, whatever batch or process it comes in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

SPLITS = 10
SEED = 2020


def splits_of(num_images: int, splits: int = SPLITS) -> Tensor:
    """The split (num_images,), int64, of each image of a set: equal parts of a shuffled order.

    Order and parts are those of torch-fidelity's defaults, so an Inception Score has its splits.
    """
    order = np.random.RandomState(SEED).permutation(num_images)
    bounds = [part * num_images // splits for part in range(splits + 1)]
    found = torch.empty(num_images, dtype=torch.int64)
    for part, (start, end) in enumerate(pairwise(bounds)):
        found[torch.from_numpy(order[start:end])] = part
    return found


def sums_by_split(values: Tensor, split: Tensor, splits: int) -> Tensor:
    """Sums (splits, ...) over the values (B, ...) of each split; `split` (B,) says which is whose."""
    return values.new_zeros((splits, *values.shape[1:])).index_add(0, split, values)
