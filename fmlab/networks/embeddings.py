"""What a network sees beside x: the time, and the condition."""

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
    """The condition as a vector: a learned row for each label, or a linear map of a vector of numbers.

    Both kinds have a learned null condition, which stands for "no condition". Of labels it is one more row, the last;
    of vectors it is a vector like any other, zero at the start.

    Args:
        width: Length of the embedding.
        num_classes: Number of labels, or None; the label `num_classes` is the null condition.
        condition_dim: Length of conditions that are vectors, or None.

    Raises:
        UserError: If neither kind is asked for, or both are.
    """

    def __init__(self, width: int, num_classes: int | None = None, condition_dim: int | None = None) -> None:
        super().__init__()
        if (num_classes is None) == (condition_dim is None):
            raise UserError("a condition is a label or a vector", key="model.network.condition_dim")
        self.num_classes = num_classes
        if num_classes is not None:
            self.embedding_table = nn.Embedding(num_classes + 1, width)
        elif condition_dim is not None:
            self.projection = nn.Linear(condition_dim, width)
            self.null_vector = nn.Parameter(torch.zeros(condition_dim))

    @property
    def null_condition(self) -> Tensor:
        """The condition of one sample that stands for none: a label, shape (), int64, or a vector, shape (D,)."""
        if self.num_classes is None:
            return self.null_vector
        return torch.tensor(self.num_classes, device=self.embedding_table.weight.device)

    def forward(self, condition: Tensor | None, batch_size: int) -> Tensor:
        """Embed labels (B,), int64 in [0, num_classes], or vectors (B, condition_dim); None stands for all null.

        Labels are not checked here, because that would wait for the device at every step.

        Returns:
            Embeddings of shape (B, width).
        """
        if self.num_classes is None:
            vectors = self.null_vector.expand(batch_size, -1) if condition is None else condition
            embedding: Tensor = self.projection(vectors.to(self.projection.weight.dtype))
        elif condition is None:
            embedding = self.embedding_table.weight[-1].expand(batch_size, -1)
        else:
            embedding = self.embedding_table(condition)
        return embedding


def condition_embedding(width: int, num_classes: int | None, condition_dim: int | None) -> ConditionEmbedding | None:
    """The embedding of a network's condition, or None for a network without one."""
    if num_classes is None and condition_dim is None:
        return None
    return ConditionEmbedding(width, num_classes, condition_dim)


def add_condition(h: Tensor, embedding: ConditionEmbedding | None, condition: Tensor | None) -> Tensor:
    """Vectors (B, width) plus the embedded condition.

    Raises:
        UserError: If there is a condition, and the network was made without one.
    """
    if embedding is not None:
        return h + embedding(condition, len(h))
    refuse_condition(condition)
    return h


def refuse_condition(condition: Tensor | None) -> None:
    """Raise UserError if a network that was made without a condition is given one."""
    if condition is not None:
        kind, name = ("vectors", "condition_dim") if condition.is_floating_point() else ("labels", "num_classes")
        raise UserError(
            f"{kind} were given to a network without {name}",
            key=f"model.network.{name}",
            hint=f"set {name}, or leave the condition out",
        )
