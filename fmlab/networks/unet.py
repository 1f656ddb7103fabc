"""The U-Net of diffusion models: Ho et al., 2020, in the form of Dhariwal and Nichol, 2021 (ADM)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fmlab.errors import UserError
from fmlab.networks.base import EmbeddedNetwork, image_shape, require_positive
from fmlab.networks.embeddings import add_condition


def group_norm(channels: int) -> nn.GroupNorm:
    """Up to 32 groups, of at least 4 channels where there are so many."""
    groups = max(n for n in range(1, min(32, max(1, channels // 4)) + 1) if channels % n == 0)
    return nn.GroupNorm(groups, channels)


def zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The layer with weight and bias set to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class SelfAttention(nn.Module):
    """Attention between all places of a feature map, added to it; the identity at the start."""

    def __init__(self, channels: int, head_dim: int | None) -> None:
        super().__init__()
        if head_dim is not None and channels % head_dim:
            raise UserError(
                f"heads of {head_dim} do not divide a feature map of {channels} channels",
                key="model.network.head_dim",
                hint="null gives one head as wide as the map",
            )
        self.heads = 1 if head_dim is None else channels // head_dim
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (B, channels, height, width), shape kept."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.proj(mixed).transpose(1, 2).unflatten(2, x.shape[2:])


class Block(nn.Module):
    """Two convolutions round a norm that the embedding scales and shifts, then attention where it is asked for.

    With as many channels out as in, it is the identity at the start.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding_width: int, dropout: float, attention: bool, head_dim: int | None
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(embedding_width, 2 * outputs))
        self.norm2 = group_norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = SelfAttention(outputs, head_dim) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Feature maps (B, inputs, height, width) and embedding (B, embedding_width) to (B, outputs, height, width)."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(functional.silu(self.norm1(x)))
        h = functional.silu(self.norm2(h) * (1 + scale) + shift)
        output: Tensor = self.attention(self.skip(x) + self.conv2(self.dropout(h)))
        return output


class UNet(EmbeddedNetwork):
    """A convolutional network that halves the image level by level and doubles it again, joined across by skips.

    Layers and widths are ADM's with scale-shift norms. The published CIFAR-10 networks are `head_dim=64, dropout=0.1`
    for torchcfm (whose norms are shifted, not scaled) and `channel_mult=(2, 2, 2), blocks=4, dropout=0.3` for
    flow_matching. On CUDA it computes in the channels-last memory format, elsewhere in the contiguous one.

    Args:
        shape: Channels, height and width of one image.
        num_classes: Number of classes, or None for a network without labels.
        channels: The unit of `channel_mult`; time and condition are embedded in four times as many.
        channel_mult: Width of each level over `channels`; each level after the first has half the height and width.
        blocks: Residual blocks of a level on the way down; one more on the way up.
        attention_resolutions: Sides of the feature maps that get self-attention (the longer side, if they differ). The
            coarsest map gets it in any case, between the way down and the way up; a side that no level has adds none.
        head_dim: Channels of an attention head, which must divide those of the map; null makes one head.
        dropout: Probability of dropout in each block.
        patch_size: Squares of so many pixels become channels before the first level and pixels after the last: with 2,
            a quarter of the work for the same channels, and good on CPUs.
        time_scale: Factor from t in [0, 1] to the angle of the fastest sinusoid.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.
        condition_dim: Length of conditions that are vectors, or None; not together with `num_classes`.

    Raises:
        UserError: If the patch does not divide the image, a level cannot be halved, the heads do not divide the
            channels, or the shape is no image's.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None = None,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        blocks: int = 2,
        attention_resolutions: Sequence[int] = (16,),
        head_dim: int | None = None,
        dropout: float = 0.0,
        patch_size: int = 1,
        time_scale: float = 1000.0,
        outputs: int = 1,
        condition_dim: int | None = None,
    ) -> None:
        require_positive(channels=channels, channel_mult=min(channel_mult, default=0), blocks=blocks)
        require_positive(patch_size=patch_size, head_dim=1 if head_dim is None else head_dim)
        planes, rows, columns = image_shape(shape, "UNet")
        _check_halving(rows, columns, patch_size, len(channel_mult))

        embedding_width = 4 * channels
        frequency_dim = 2 * ((channels + 1) // 2)
        super().__init__(shape, num_classes, condition_dim, outputs, embedding_width, time_scale, frequency_dim)
        self.patch_size = patch_size

        def block(inputs: int, outputs: int, attention: bool) -> Block:
            return Block(inputs, outputs, embedding_width, dropout, attention, head_dim)

        widths = [channels * factor for factor in channel_mult]
        sides = [max(rows, columns) // patch_size // 2**level for level in range(len(widths))]
        attends = [side in attention_resolutions for side in sides]

        self.first = nn.Conv2d(planes * patch_size**2, widths[0], 3, padding=1)
        skips = [widths[0]]
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            if level > 0:
                self.down.append(nn.Conv2d(skips[-1], skips[-1], 3, stride=2, padding=1))
                skips.append(skips[-1])
            for _ in range(blocks):
                self.down.append(block(skips[-1], width, attends[level]))
                skips.append(width)

        self.middle = nn.ModuleList([block(widths[-1], widths[-1], True), block(widths[-1], widths[-1], False)])

        last = widths[-1]
        self.up = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(block(last + skips.pop(), width, attends[level]))
                last = width
            if level > 0:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)))

        self.norm = group_norm(last)
        self.last = zero(nn.Conv2d(last, outputs * planes * patch_size**2, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Images, shape (B, channels, height, width).
            t: Times in [0, 1], shape (B,), float32 or better.
            condition: Labels (B,), int64 in [0, num_classes], or vectors (B, condition_dim); None stands for all null.
        """
        embedding = add_condition(self.t_embedder(t), self.y_embedder, condition)
        h = functional.pixel_unshuffle(x, self.patch_size)
        h = self.first(h.contiguous(memory_format=torch.channels_last if h.is_cuda else torch.contiguous_format))
        skips = [h]
        for layer in self.down:
            h = layer(h, embedding) if isinstance(layer, Block) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], dim=1), embedding) if isinstance(layer, Block) else layer(h)
        h = self.last(functional.silu(self.norm(h)))
        return self.as_outputs(functional.pixel_shuffle(h, self.patch_size).contiguous(), x)


def _check_halving(rows: int, columns: int, patch_size: int, levels: int) -> None:
    if rows % patch_size or columns % patch_size:
        raise UserError(
            f"a patch of {patch_size} does not divide an image of {rows} x {columns}", key="model.network.patch_size"
        )
    height, width, possible = rows // patch_size, columns // patch_size, 1
    while height % 2 == 0 and width % 2 == 0:
        height, width, possible = height // 2, width // 2, possible + 1
    if levels > possible:
        raise UserError(
            f"{levels} levels halve {rows // patch_size} x {columns // patch_size} {levels - 1} times, "
            f"but {height} x {width} cannot be halved",
            key="model.network.channel_mult",
            hint=f"give at most {possible} level{'s' if possible > 1 else ''}",
        )
