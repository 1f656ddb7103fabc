"""The plainest network on vectors: event and time side by side, layers one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.networks.base import require_positive
from fmlab.networks.embeddings import ConditionEmbedding

Activation = Literal["SELU", "SiLU", "GELU", "ReLU", "Tanh"]


class PlainMLP(nn.Module):
    """Layers on the flattened event with t as one more entry, no residuals: the network of TorchCFM's 2-D benchmarks.

    Args:
        shape: Shape of one event; (2,) for points in the plane.
        num_classes: Number of classes, or None for a network without condition. A label moves the first layer's output.
        width: Length of the hidden vectors.
        depth: Number of hidden layers.
        activation: What follows each of them.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.

    Raises:
        UserError: If `width`, `depth` or `outputs` is below 1.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None = None,
        width: int = 64,
        depth: int = 3,
        activation: Activation = "SELU",
        outputs: int = 1,
    ) -> None:
        require_positive(width=width, depth=depth, outputs=outputs)
        super().__init__()
        self.shape, self.num_classes, self.outputs = tuple(int(size) for size in shape), num_classes, outputs
        features = math.prod(self.shape)
        self.first = nn.Linear(features + 1, width)
        self.y_embedder = None if num_classes is None else ConditionEmbedding(num_classes, width)
        act = getattr(nn, activation)
        hidden = [layer for _ in range(depth - 1) for layer in (act(), nn.Linear(width, width))]
        self.rest = nn.Sequential(*hidden, act(), nn.Linear(width, outputs * features))
        nn.init.zeros_(self.rest[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.rest[-1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Events, shape (B, *shape).
            t: Times in [0, 1], shape (B,).
            condition: Labels in [0, num_classes], shape (B,), int64; None stands for all null.

        Raises:
            UserError: If there are labels and the network has no classes.
        """
        h = self.first(torch.cat([x.flatten(1), t[:, None].to(x.dtype)], 1))
        if self.y_embedder is not None:
            h = h + self.y_embedder(condition, len(x))
        elif condition is not None:
            raise UserError(
                "labels were given to a network without classes",
                key="model.network.num_classes",
                hint="set num_classes, or leave the condition out",
            )
        output: Tensor = self.rest(h)
        return output.view(x.shape) if self.outputs == 1 else output.view(len(x), self.outputs, *self.shape)
