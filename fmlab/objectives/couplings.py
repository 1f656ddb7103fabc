"""Which draw of the source goes with which data point."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Coupling(ABC):
    """Pairs the data of a batch with draws of the source; every data point exactly once.

    Attributes:
        batch_size: How many pairs are matched together, over all processes; None is the training batch's own.
        across_ranks: Whether the batches of all processes are matched together.
    """

    batch_size: int | None = None
    across_ranks: bool = False

    @abstractmethod
    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """The source in the order in which it goes with `data`; both of shape (B, *event).

        Args:
            data: The data.
            source: As many draws of the source.
            condition: What the model is told of each data point, of shape (B,) or (B, ...), or None.
            generator: Where a random coupling's draws come from.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Independent(Coupling):
    """Source and data are independent: the pairs as they were drawn."""

    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        return source
