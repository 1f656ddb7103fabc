"""A multilayer perceptron for vectors and other small events."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from fmlab.networks.base import Network, require_positive


class MLP(Network):
    """Residual layers on the flattened event and the embedding of time and condition.

    Args:
        shape: Shape of one event; (2,) for points in the plane.
        num_classes: Number of classes, or None for a network without condition.
        width: Length of the hidden vectors.
        depth: Number of hidden layers.
        time_scale: Factor from t in [0, 1] to the angle of the fastest sinusoid.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.

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
    ) -> None:
        require_positive(width=width, depth=depth)
        super().__init__(shape, num_classes, width, time_scale, outputs=outputs)
        features = math.prod(self.shape)
        self.first = nn.Linear(features, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, outputs * features)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Events, shape (B, *shape).
            t: Times in [0, 1], shape (B,), float32 or better.
            condition: Labels in [0, num_classes], shape (B,), int64; None stands for all null.
        """
        h = self.first(x.flatten(1)) + self.embed(t, condition)
        for layer in self.hidden:
            h = h + layer(functional.silu(h))
        output: Tensor = self.last(functional.silu(h))
        return output.view(x.shape) if self.outputs == 1 else self.as_outputs(output)
