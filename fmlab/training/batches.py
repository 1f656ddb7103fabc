"""What a batch may look like, and what a module makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fmlab.errors import UserError


@dataclass(frozen=True)
class Batch:
    """Data with what belongs to each data point.

    Attributes:
        data: Of shape (B, *event).
        condition: One a data point, or None.
        source: The x_0 that goes with each data point, shaped like `data`, or None.
    """

    data: Tensor
    condition: Tensor | None = None
    source: Tensor | None = None

    def replace(self, **changes: Any) -> Batch:
        """The same with some fields changed."""
        return dataclasses.replace(self, **changes)


def unpack(batch: Any) -> Batch:
    """A tensor alone has no condition, a pair has one; a mapping names `data`, `condition` and `source`.

    Raises:
        UserError: If a mapping has other keys.
    """
    if isinstance(batch, Tensor):
        return Batch(batch)
    if isinstance(batch, Mapping):
        if "data" not in batch or not set(batch) <= {"data", "condition", "source"}:
            raise UserError(f"a batch with the keys {', '.join(map(str, batch))}", hint="data, condition, source")
        return Batch(**batch)
    data, condition = batch
    return Batch(data, condition)
