"""Features of a fixed network that nobody trained: a stand-in for sets without labels, and for quick looks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmlab.metrics.network import SHRINK, FeatureNetwork, shrink
from fmlab.random import fixed_generator

_KEY = 20_150_712  # any fixed number


class RandomFeatures(FeatureNetwork):
    """Four convolutions with fixed random weights, averaged over the image; distances under it compare like with like.

    Args:
        shape: (channels, height, width) of the images.
    """

    name = "random"
    resize = SHRINK
    dimension = 128

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        generator = fixed_generator(_KEY)
        widths = (shape[0], 32, 64, 96, self.dimension)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        for layer in self.layers:
            for parameter in layer.parameters():
                # Uniform, because its bits are the same on every processor; of the scale that keeps activations alike.
                bound = (6 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1
                uniform = torch.rand(parameter.shape, generator=generator)
                parameter.data.copy_((2 * uniform - 1) * bound)
        self.freeze()

    def extract(self, images: Tensor) -> Tensor:
        """Features (B, 128) of uint8 images (B, C, H, W)."""
        x = shrink(images.float() / 127.5 - 1)
        for depth, layer in enumerate(self.layers):
            if depth and min(x.shape[-2:]) >= 8:
                x = F.avg_pool2d(x, 2)
            x = F.relu(layer(x))
        return x.mean(dim=(2, 3))
