"""The diffusion transformer (DiT) of Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fmlab.errors import UserError, nearest
from fmlab.networks.base import EmbeddedNetwork, image_shape, require_positive
from fmlab.networks.embeddings import add_condition
from fmlab.networks.transformer import Attention, Mlp, PatchEmbed

SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
"""The published sizes: width, depth and heads."""


def position_table(rows: int, columns: int, width: int) -> Tensor:
    """Fixed sines and cosines of each patch's column (first half) and row (second), shape (rows * columns, width)."""
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [coordinate.reshape(-1, 1) * frequency for coordinate in (column, row)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1).float()


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift tokens (B, N, width) by vectors (B, width)."""
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    """A transformer block whose norms and residual branches the embedding steers (adaLN-Zero).

    It is the identity while `adaLN_modulation` is zero, because its gates are.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(width, int(width * mlp_ratio), dropout)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Tokens (B, N, width) and embedding (B, width) to tokens (B, N, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(embedding).chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift1, scale1))
        return x + gate2.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift2, scale2))


class FinalLayer(nn.Module):
    """From tokens (B, N, width) to the pixels of their patches (B, N, features), by a modulated norm."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(width, features)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Tokens (B, N, width) and embedding (B, width) to patches (B, N, features)."""
        shift, scale = self.adaLN_modulation(embedding).chunk(2, dim=1)
        output: Tensor = self.linear(modulate(self.norm_final(x), shift, scale))
        return output


class DiT(EmbeddedNetwork):
    """A transformer on the patches of an image, steered by time and condition through adaLN-Zero.

    The parameters carry the names of the published checkpoints.

    Args:
        shape: Channels, height and width of one image.
        num_classes: Number of classes, or None for a network without labels.
        size: A published size, which then decides width, depth and heads: S (384 wide, 12 blocks, 6 heads),
            B (768, 12, 12), L (1024, 24, 16), XL (1152, 28, 16).
        patch_size: Side of the square patches that become tokens; it must divide height and width.
        width: Length of the tokens, a multiple of 4 and of `heads`.
        depth: Number of blocks.
        heads: Number of attention heads.
        mlp_ratio: Width of the hidden layer of each block's perceptron, over `width`.
        dropout: Probability of dropout in the perceptrons and after attention.
        time_scale: Factor from t in [0, 1] to the angle of the fastest sinusoid.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.
        condition_dim: Length of conditions that are vectors, or None; not together with `num_classes`.

    Raises:
        UserError: If the patch does not divide the image, `width` does not suit `heads`, or the shape is no image's.
    """

    pos_embed: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None = None,
        size: Literal["S", "B", "L", "XL"] | None = None,
        patch_size: int = 2,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        time_scale: float = 1000.0,
        outputs: int = 1,
        condition_dim: int | None = None,
    ) -> None:
        if size is not None:
            if size not in SIZES:
                raise UserError(f"there is no size {size!r}", key="model.network.size", hint=nearest(size, SIZES))
            width, depth, heads = SIZES[size]
        require_positive(patch_size=patch_size, width=width, depth=depth, heads=heads)
        channels, rows, columns = image_shape(shape, "DiT")
        _check_patch(patch_size, rows, columns)
        _check_width(width, heads)

        super().__init__(shape, num_classes, condition_dim, outputs, width, time_scale)
        self.patch_size = patch_size
        self.grid = (rows // patch_size, columns // patch_size)
        self.x_embedder = PatchEmbed(patch_size, channels, width)
        self.register_buffer("pos_embed", position_table(*self.grid, width).unsqueeze(0))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio, dropout) for _ in range(depth))
        self.final_layer = FinalLayer(width, patch_size**2 * channels * outputs)
        self._initialise()

    def _initialise(self) -> None:
        """The paper's initial weights: Xavier for the layers, 0.02 for the embeddings, zero where training starts."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.flatten(1))  # a view: a patch's pixels are its inputs
        assert self.x_embedder.proj.bias is not None
        nn.init.zeros_(self.x_embedder.proj.bias)
        for module in self.t_embedder.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        if self.y_embedder is not None and self.num_classes is not None:
            nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, (Block, FinalLayer)):
                for parameter in module.adaLN_modulation.parameters():
                    nn.init.zeros_(parameter)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Images, shape (B, channels, height, width).
            t: Times in [0, 1], shape (B,), float32 or better.
            condition: Labels (B,), int64 in [0, num_classes], or vectors (B, condition_dim); None stands for all null.
        """
        embedding = add_condition(self.t_embedder(t), self.y_embedder, condition)
        tokens = self.x_embedder(x) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, embedding)
        return self.as_outputs(self._image(self.final_layer(tokens, embedding)), x)

    def _image(self, patches: Tensor) -> Tensor:
        """Put patches (B, N, patch_size * patch_size * channels * outputs) side by side as images."""
        rows, columns = self.grid
        side, planes = self.patch_size, self.shape[0] * self.outputs
        patches = patches.view(-1, rows, columns, side, side, planes)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(-1, planes, *self.shape[1:])


def _check_patch(patch_size: int, rows: int, columns: int) -> None:
    if rows % patch_size or columns % patch_size:
        common = math.gcd(rows, columns)
        divisors = ", ".join(str(n) for n in range(1, common + 1) if common % n == 0)
        raise UserError(
            f"a patch of {patch_size} does not divide an image of {rows} x {columns}",
            key="model.network.patch_size",
            hint=f"these do: {divisors}",
        )


def _check_width(width: int, heads: int) -> None:
    if width % 4 or width % heads:
        unit = math.lcm(4, heads)
        raise UserError(
            f"{width} is not a multiple of 4 and of the {heads} heads",
            key="model.network.width",
            hint=f"the nearest that is: {max(unit, round(width / unit) * unit)}",
        )
