"""What every feature network promises, and the hash that names its weights."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def weights_hash(module: nn.Module) -> str:
    """SHA-256 (hex) of a module's parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def shrink(x: Tensor, side: int = 64) -> Tensor:
    """Average-pools images by the whole factor that keeps their shorter side at least `side`; smaller ones pass."""
    factor = min(x.shape[-2:]) // side
    return F.avg_pool2d(x, factor) if factor > 1 else x


class FeatureNetwork(nn.Module):
    """A frozen network from uint8 images to float32 features.

    A subclass sets `name` and `dimension`, implements `extract`, and calls `freeze` once its weights are in place.

    Attributes:
        name: `inception`, `domain` or `random`; it ends the metric's key.
        dimension: Length of a feature vector.
        weights_hash: SHA-256 of the weights, empty until they are frozen.
    """

    name: str
    dimension: int
    weights_hash: str = ""
    images_at_once: int = 1024

    def freeze(self) -> FeatureNetwork:
        """Evaluation mode, no gradients, and the weights' hash taken."""
        self.eval().requires_grad_(False)
        self.weights_hash = weights_hash(self)
        return self

    def extract(self, images: Tensor) -> Tensor:
        """Features (B, dimension) of uint8 images (B, C, H, W)."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dimension), float32, of uint8 images (B, C, H, W), whatever precision surrounds the call."""
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise TypeError(f"features want uint8 images (B, C, H, W), not {images.dtype} {tuple(images.shape)}")
        with torch.autocast(images.device.type, enabled=False):
            parts = [self.extract(part).float() for part in images.split(self.images_at_once)]
        return torch.cat(parts) if parts else images.new_zeros((0, self.dimension), dtype=torch.float32)
