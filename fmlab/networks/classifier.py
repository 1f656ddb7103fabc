"""A classifier of noisy events, made of any network of this room."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from fmlab.networks.base import require_positive


class ClassifierHead(nn.Module):
    """The classes' logits, read by a linear layer from all that another network gives for (x, t).

    Args:
        trunk: `network(x, t)` of the shape of x, or with its attribute `outputs` as many quantities of that shape; it
            gets no label.
        shape: Shape of one event.
        num_classes: Number of classes.

    Raises:
        UserError: If `num_classes` is below 1.
    """

    def __init__(self, trunk: nn.Module, shape: Sequence[int], num_classes: int) -> None:
        require_positive(num_classes=num_classes)
        super().__init__()
        self.trunk, self.shape = trunk, tuple(int(size) for size in shape)
        self.head = nn.Linear(int(getattr(trunk, "outputs", 1)) * math.prod(self.shape), num_classes)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits of shape (B, num_classes).

        Args:
            x: Events, shape (B, *shape).
            t: Times in [0, 1], shape (B,), float32 or better.
        """
        logits: Tensor = self.head(functional.silu(self.trunk(x, t)).flatten(1))
        return logits
