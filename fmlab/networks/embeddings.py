"""What a network is told beside x: the time, and the condition."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from fmlab.errors import UserError

DIFFUSION_STEPS = 1000.0
"""The steps of the diffusion that published networks of step numbers were trained on."""

LAST_STEP = DIFFUSION_STEPS - 1
"""The number of its last and noisiest step, at t = 0; at t the number is `LAST_STEP - DIFFUSION_STEPS * t`."""


def sinusoid(t: Tensor, dim: int, time_scale: float = 1000.0) -> Tensor:
    """Cosines and sines of the time at geometrically spaced frequencies (Vaswani et al., 2017).

    The frequencies run from 1 down to almost 1/10000 radians for each unit of `time_scale * t`. Without the scale,
    times in [0, 1] would move most angles by next to nothing, and different times would look alike to the network.

    Args:
        t: Times, shape (B,).
        dim: Number of features, even: half cosines, half sines.
        time_scale: Factor from t in [0, 1] to the angle of the fastest frequency.

    Returns:
        Features of shape (B, dim), in float32 (float64 if t is), whatever autocast says around the call.
    """
    device = t.device.type
    # bfloat16 cannot tell t = 0.998 from t = 0.995, so nothing here may be rounded to it.
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        dtype = torch.promote_types(t.dtype, torch.float32)
        steps = torch.arange(dim // 2, device=t.device, dtype=dtype)
        angle = time_scale * t.to(dtype)[:, None] * torch.exp(steps * (-math.log(10000.0) / (dim // 2)))
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """The time as a vector: a sinusoid, then two linear layers with a SiLU between.

    Args:
        width: Length of the vector.
        time_scale: Factor from t in [0, 1] to the angle of the fastest frequency.
        frequency_dim: Number of sinusoidal features, even.

    Raises:
        UserError: If `frequency_dim` is odd or below 2.
    """

    def __init__(self, width: int, time_scale: float = 1000.0, frequency_dim: int = 256) -> None:
        super().__init__()
        if frequency_dim < 2 or frequency_dim % 2:
            raise UserError(f"frequency_dim is {frequency_dim}; cosines and sines need an even number of at least 2")
        self.time_scale, self.frequency_dim = time_scale, frequency_dim
        self.mlp = nn.Sequential(nn.Linear(frequency_dim, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embed times of shape (B,), float32 or better, as vectors of shape (B, width)."""
        features = sinusoid(t, self.frequency_dim, self.time_scale)
        embedding: Tensor = self.mlp(features.to(next(self.mlp.parameters()).dtype))
        return embedding


class ConditionEmbedding(nn.Module):
    """A learned vector for each class, and one more, the last, for the null condition.

    Args:
        num_classes: Number of classes; the label `num_classes` is the null condition.
        width: Length of the vectors.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, condition: Tensor | None, batch_size: int) -> Tensor:
        """Look up labels of shape (B,), int64 in [0, num_classes]; None stands for all null.

        Labels are not checked here, because that would wait for the device at every step.

        Returns:
            Vectors of shape (B, width).
        """
        if condition is None:
            return self.embedding_table.weight[-1].expand(batch_size, -1)
        embedding: Tensor = self.embedding_table(condition)
        return embedding
