"""Multilayer perceptrons for vectors and other small events: one for all uses, and two of published 2-D tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fmlab.networks.base import EmbeddedNetwork, Network, require_positive
from fmlab.networks.embeddings import add_condition, condition_embedding

Activation = Literal["SELU", "SiLU", "GELU", "ReLU", "Tanh"]


class MLP(EmbeddedNetwork):
    """Residual layers on the flattened event and the embedding of time and condition.

    Args:
        shape: Shape of one event; (2,) for points in the plane.
        num_classes: Number of classes, or None for a network without labels.
        width: Length of the hidden vectors.
        depth: Number of hidden layers.
        time_scale: Factor from t in [0, 1] to the angle of the fastest sinusoid.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.
        condition_dim: Length of conditions that are vectors, or None; not together with `num_classes`.

    Raises:
        UserError: If `width` or `depth` is below 1.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None = None,
        width: int = 128,
        depth: int = 3,
        time_scale: float = 1000.0,
        outputs: int = 1,
        condition_dim: int | None = None,
    ) -> None:
        require_positive(width=width, depth=depth)
        super().__init__(shape, num_classes, condition_dim, outputs, width, time_scale)
        features = math.prod(self.shape)
        self.first = nn.Linear(features, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = zero_linear(width, outputs * features)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Events, shape (B, *shape).
            t: Times in [0, 1], shape (B,), float32 or better.
            condition: Labels (B,), int64 in [0, num_classes], or vectors (B, condition_dim); None stands for all null.
        """
        h = self.first(x.flatten(1)) + add_condition(self.t_embedder(t), self.y_embedder, condition)
        for layer in self.hidden:
            h = h + layer(functional.silu(h))
        return self.as_outputs(self.last(functional.silu(h)), x)


class PlainMLP(Network):
    """Layers on the flattened event with t as one more entry, no residuals: the network of TorchCFM's 2-D benchmarks.

    Args:
        shape: Shape of one event; (2,) for points in the plane.
        num_classes: Number of classes, or None for a network without labels. A label moves the first layer's output.
        width: Length of the hidden vectors.
        depth: Number of hidden layers.
        activation: What follows each of them.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.
        condition_dim: Length of conditions that are vectors, or None; not together with `num_classes`.

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
        condition_dim: int | None = None,
    ) -> None:
        require_positive(width=width, depth=depth, outputs=outputs)
        super().__init__(shape, num_classes, condition_dim, outputs)
        features = math.prod(self.shape)
        self.first = nn.Linear(features + 1, width)
        self.y_embedder = condition_embedding(width, num_classes, condition_dim)
        act = getattr(nn, activation)
        hidden = [layer for _ in range(depth - 1) for layer in (act(), nn.Linear(width, width))]
        self.rest = nn.Sequential(*hidden, act(), zero_linear(width, outputs * features))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Events, shape (B, *shape).
            t: Times in [0, 1], shape (B,).
            condition: Labels (B,), int64 in [0, num_classes], or vectors (B, condition_dim); None stands for all null.
        """
        h = self.first(torch.cat([x.flatten(1), t[:, None].to(x.dtype)], 1))
        return self.as_outputs(self.rest(add_condition(h, self.y_embedder, condition)), x)


class ResidualMLP(Network):
    """h + W' gelu(W h) again and again, on the sum of linear maps of event, time and condition: C2OT's 2-D network.

    Args:
        shape: Shape of one event; (2,) for points in the plane.
        num_classes: Number of classes, or None for a network without labels.
        condition_dim: Length of conditions that are vectors, or None; not together with `num_classes`.
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
        super().__init__(shape, num_classes, condition_dim, outputs)
        features = math.prod(self.shape)
        self.first, self.time = nn.Linear(features, width), nn.Linear(1, width)
        self.y_embedder = condition_embedding(width, num_classes, condition_dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))
            for _ in range(depth)
        )
        self.last = zero_linear(width, outputs * features)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Events, shape (B, *shape).
            t: Times in [0, 1], shape (B,).
            condition: Labels (B,), int64 in [0, num_classes], or vectors (B, condition_dim); None stands for all null.
        """
        h = self.first(x.flatten(1)) + self.time(t[:, None].to(x.dtype))
        h = add_condition(h, self.y_embedder, condition)
        for block in self.blocks:
            h = h + block(h)
        return self.as_outputs(self.last(h), x)


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer whose output is zero at the start."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
