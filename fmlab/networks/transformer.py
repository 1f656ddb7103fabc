"""The layers of a vision transformer, with timm's arithmetic and parameter names, and without the import of its models.

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class PatchEmbed(nn.Module):
    """Images (B, channels, H, W) as tokens (B, N, width): a linear map of each square patch, row by row.

    Args:
        patch_size: Side of a patch.
        channels: Channels of an image.
        width: Length of a token.
    """

    def __init__(self, patch_size: int, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x)
        return patches.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of tokens (B, N, width) in several heads.

    Args:
        width: Length of a token, a multiple of `heads`.
        heads: Number of heads.
        dropout: Probability of dropout in the output.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.proj_drop(self.proj(mixed.transpose(1, 2).flatten(2)))
        return output


class Mlp(nn.Module):
    """Two linear maps of each token with a GELU between them, in its tanh approximation.

    Args:
        width: Length of a token.
        hidden: Length between the maps.
        dropout: Probability of dropout after each.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate="tanh")
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, width)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.drop2(self.fc2(self.drop1(self.act(self.fc1(x)))))
        return output
