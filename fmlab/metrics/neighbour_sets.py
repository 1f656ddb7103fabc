"""What samples are looked for in, and what real examples they are compared with: a data set's own splits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fmlab.data import ImageData, TensorSet
from fmlab.errors import UserError
from fmlab.metrics.choice import keyed_rows

FEWEST = 20  # held-out examples; the median of fewer says little
MOST = 2000


def neighbour_sets(data: Any) -> tuple[Tensor, Tensor]:
    """The training examples, with their mirror images where training saw those, and at most MOST held-out examples.

    Args:
        data: A data module; of pairs the images that they are pairs of.

    Returns:
        Both as the data hold them, uint8 images or points.

    Raises:
        UserError: If the training examples are not in memory, or fewer than FEWEST are held out.
    """
    data = getattr(data, "images", data)
    train, validation = data.split("train"), data.split("validation")
    if not isinstance(train, TensorSet):
        raise UserError(f"the {len(train):,} training examples of {type(data).__name__} are not in memory")
    if len(validation) < FEWEST:
        raise UserError(f"{len(validation)} held-out examples are too few, at least {FEWEST} are needed")
    known = train.x
    if type(data).augment is ImageData.augment and data.flip:
        known = torch.cat([known, known.flip(-1)])
    return known, validation.take(keyed_rows(len(validation), MOST))
