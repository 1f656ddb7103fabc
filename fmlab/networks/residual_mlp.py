"""Residual blocks on vectors with a linear embedding of time, and of a condition that may be a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.networks.base import require_positive
from fmlab.networks.embeddings import ConditionEmbedding


class ResidualMLP(nn.Module):
    """h + W' gelu(W h) again and again, on the sum of linear maps of event, time and condition: C2OT's 2-D network.

    Args:
        shape: Shape of one event; (2,) for points in the plane.
        num_classes: Number of classes, or None.
        condition_dim: Length of conditions that are vectors of numbers, or None; not together with `num_classes`.
        width: Length of the hidden vectors.
        depth: Number of blocks.
        expansion: How many times wider a block is inside.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.

    Raises:
        UserError: If a size is below 1, or both kinds of condition are asked for.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None = None,
        condition_dim: int | None = None,
        width: int = 128,
        depth: int = 3,
        expansion: int = 4,
        outputs: int = 1,
    ) -> None:
        require_positive(width=width, depth=depth, expansion=expansion, outputs=outputs)
        if num_classes is not None and condition_dim is not None:
            raise UserError("a condition is a label or a vector", key="model.network.condition_dim")
        super().__init__()
        self.shape, self.num_classes, self.outputs = tuple(int(size) for size in shape), num_classes, outputs
        features = math.prod(self.shape)
        self.first, self.time = nn.Linear(features, width), nn.Linear(1, width)
        self.y_embedder: nn.Module | None = None
        if num_classes is not None:
            self.y_embedder = ConditionEmbedding(num_classes, width)
        elif condition_dim is not None:
            self.y_embedder = nn.Linear(condition_dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))
            for _ in range(depth)
        )
        self.last = nn.Linear(width, outputs * features)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Events, shape (B, *shape).
            t: Times in [0, 1], shape (B,).
            condition: Labels in [0, num_classes] of shape (B,), int64, or vectors (B, condition_dim); None stands for
                all null, the vector's contribution left out.

        Raises:
            UserError: If there is a condition and the network was made without.
        """
        h = self.first(x.flatten(1)) + self.time(t[:, None].to(x.dtype))
        if isinstance(self.y_embedder, ConditionEmbedding):
            h = h + self.y_embedder(condition, len(x))
        elif condition is not None and self.y_embedder is not None:
            h = h + self.y_embedder(condition)
        elif condition is not None:
            raise UserError(
                "labels were given to a network without classes",
                key="model.network.num_classes",
                hint="set num_classes or condition_dim, or leave the condition out",
            )
        for block in self.blocks:
            h = h + block(h)
        output: Tensor = self.last(h)
        return output.view(x.shape) if self.outputs == 1 else output.view(len(x), self.outputs, *self.shape)
