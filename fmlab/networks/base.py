"""What all networks share, and how any of them is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fmlab.errors import UserError
from fmlab.networks.embeddings import ConditionEmbedding, TimeEmbedding, condition_embedding


class Network(nn.Module):
    """A map `forward(x, t, condition=None)` from (B, *shape) to (B, *shape) that is zero before any training.

    With two outputs, the heads of `prediction: velocity_and_score`, it maps to (B, 2, *shape).

    Nothing in fmlab asks for this class: any module with such a `forward` will do as a network. One that takes vectors
    as conditions states their length as `condition_dim`, and its learned null as `null_condition`.

    Args:
        shape: Shape of one event, such as (3, 32, 32).
        num_classes: Number of classes, or None for a network without labels.
        condition_dim: Length of conditions that are vectors, or None; not together with `num_classes`.
        outputs: How many quantities it gives, each of the shape of an event.

    Attributes:
        shape: Shape of one event.
        num_classes: Number of classes, which is also the label of the null condition; None without labels.
        condition_dim: Length of conditions that are vectors; None without them.
        y_embedder: The embedding of the condition; None without a condition.
    """

    y_embedder: ConditionEmbedding | None

    def __init__(self, shape: Sequence[int], num_classes: int | None, condition_dim: int | None, outputs: int) -> None:
        super().__init__()
        require_positive(outputs=outputs)
        self.outputs = outputs
        self.shape: tuple[int, ...] = tuple(int(size) for size in shape)
        self.num_classes, self.condition_dim = num_classes, condition_dim

    @property
    def null_condition(self) -> Tensor | None:
        """The condition of one sample that stands for none: a label, shape (), or a vector, shape (condition_dim,)."""
        return None if self.y_embedder is None else self.y_embedder.null_condition

    def as_outputs(self, output: Tensor, x: Tensor) -> Tensor:
        """An output of any layout as the shape of x or, with more outputs than one, as (B, outputs, *shape)."""
        return output.view(x.shape) if self.outputs == 1 else output.view(len(x), self.outputs, *self.shape)


class EmbeddedNetwork(Network):
    """A network that sees time and condition as one vector.

    Args:
        shape: Shape of one event, such as (3, 32, 32).
        num_classes: Number of classes, or None for a network without labels.
        condition_dim: Length of conditions that are vectors, or None.
        outputs: How many quantities it gives, each of the shape of an event.
        width: Length of the vector.
        time_scale: Factor from t in [0, 1] to the angle of the fastest sinusoid.
        frequency_dim: Number of sinusoidal features of the time.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None,
        condition_dim: int | None,
        outputs: int,
        width: int,
        time_scale: float,
        frequency_dim: int = 256,
    ) -> None:
        super().__init__(shape, num_classes, condition_dim, outputs)
        self.t_embedder = TimeEmbedding(width, time_scale, frequency_dim)
        self.y_embedder = condition_embedding(width, num_classes, condition_dim)


def require_positive(**sizes: int) -> None:
    """Raise UserError for the first of the named sizes that is below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{size} is too small, the least is 1", key=f"model.network.{name}")


def image_shape(shape: Sequence[int], network: str) -> tuple[int, int, int]:
    """The channels, height and width that `shape` must consist of.

    Raises:
        UserError: If it is not the shape of an image.
    """
    if len(shape) != 3:
        raise UserError(
            f"{network} works on images (channels, height, width), not on shape {tuple(shape)}",
            key="model.network",
            hint="MLP takes any shape",
        )
    channels, height, width = shape
    return int(channels), int(height), int(width)


class Description(NamedTuple):
    """The size of a network.

    Attributes:
        parameters: Number of parameters that are trained.
        flops: Floating-point operations of one forward on one sample; a multiply-add counts as two.
    """

    parameters: int
    flops: int


def describe(network: nn.Module, shape: Sequence[int] | None = None, num_classes: int | None = None) -> Description:
    """Count a network's parameters and the operations of one forward on one sample.

    Matrix products, convolutions and attention are counted; what works element by element is not. A multiply-add counts
    as two operations, as processors' peak rates count it. Papers often call one multiply-add one FLOP, the DiT paper
    among them: halve this figure to compare with theirs.

    The network runs once, in evaluation mode, without gradients, where its parameters are. Its modes are restored.

    Args:
        network: Any module with `forward(x, t, condition=None)`, or `forward(x, t)` where there is no condition.
        shape: Shape of one event; by default the network's own attribute `shape`.
        num_classes: Number of classes; by default the network's own attribute `num_classes`, if it has one.

    Raises:
        UserError: If the shape is neither given nor stated by the network.
    """
    # The counter's hooks would warn at torch.compile's wrapper.
    network = getattr(network, "_orig_mod", network)
    shape = getattr(network, "shape", None) if shape is None else shape
    if shape is None:
        raise UserError(f"{type(network).__name__} has no attribute shape, so the shape must be given")
    num_classes = getattr(network, "num_classes", None) if num_classes is None else num_classes

    anchor = next(network.parameters(), torch.empty(0))
    x = torch.zeros(1, *shape, dtype=anchor.dtype, device=anchor.device)
    t = torch.full((1,), 0.5, device=anchor.device)
    condition_dim = getattr(network, "condition_dim", None)
    condition = (
        [] if condition_dim is None else [torch.zeros(1, condition_dim, dtype=anchor.dtype, device=anchor.device)]
    )
    if num_classes is not None:
        condition = [torch.zeros(1, dtype=torch.int64, device=anchor.device)]

    modes = {module: module.training for module in network.modules()}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # Without gradients at all, because the counter's hooks stumble over views of parameters that have them.
    network.eval().requires_grad_(False)
    try:
        # The counter knows no fused attention on CPUs; the mathematical one is made of products that it knows.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(x, t, *condition)
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter in trained:
            parameter.requires_grad_(True)
    return Description(sum(parameter.numel() for parameter in trained), int(counter.get_total_flops()))
