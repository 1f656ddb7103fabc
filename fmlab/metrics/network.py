"""What every feature network promises, and the hash that names its weights."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmlab.errors import UserError

SHRINK = "none below 128 pixels; larger images are averaged by the whole factor that leaves at least 64"
"""What `shrink` does, in the words of the measurement."""


def weights_hash(module: nn.Module) -> str:
    """SHA-256 (hex) of a module's parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def shrink(x: Tensor, side: int = 64) -> Tensor:
    """Average-pools images by the whole factor that keeps their shorter side at least `side`; smaller ones pass."""
    factor = min(x.shape[-2:]) // side
    return F.avg_pool2d(x, factor) if factor > 1 else x


def as_colour(images: Tensor, name: str) -> Tensor:
    """Images (B, 3, H, W) of those with 1 or 3 channels, grey ones repeated, for the network called `name`.

    Raises:
        UserError: They have another number of channels.
    """
    if images.shape[1] not in (1, 3):
        raise UserError(f"{name} sees images of 1 or 3 channels, not {images.shape[1]}", hint="choose features: random")
    return images.expand(-1, 3, -1, -1)


class FeatureNetwork(nn.Module):
    """A frozen network from uint8 images to float32 features.

    A subclass sets `name`, `dimension` and `resize`, implements `extract`, and calls `freeze` once its weights are in
    place. One that is a classifier also sets `num_classes` and implements `class_logits`.

    Attributes:
        name: `inception`, `domain`, `random` ...; it ends the metric's key.
        dimension: Length of a feature vector.
        resize: What happens to the images' size before the first layer; part of the measurement.
        num_classes: Classes it tells apart, None if it is no classifier.
        weights_hash: SHA-256 of the weights, empty until they are frozen.
        code: SHA-256 of the source that is not fmlab's own, else empty.
    """

    name: str
    dimension: int
    resize: str
    num_classes: int | None = None
    weights_hash: str = ""
    code: str = ""
    images_at_once: int = 1024

    def freeze(self) -> FeatureNetwork:
        """Evaluation mode, no gradients, and the weights' hash taken."""
        self.eval().requires_grad_(False)
        self.weights_hash = weights_hash(self)
        return self

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next((part.device for part in self.state_dict(keep_vars=True).values()), torch.device("cpu"))

    def extract(self, images: Tensor) -> Tensor:
        """Features (B, dimension) of uint8 images (B, C, H, W)."""
        raise NotImplementedError

    def class_logits(self, features: Tensor) -> Tensor:
        """Class logits (B, num_classes) of features (B, dimension).

        Raises:
            UserError: The network is no classifier.
        """
        raise UserError(
            f"the {self.name} features come without class logits",
            key="metrics",
            hint="an Inception Score needs features: inception or domain",
        )

    @torch.no_grad()
    def logits_of(self, features: Tensor) -> Tensor:
        """Class logits (B, num_classes) of features (B, dimension), whatever precision surrounds the call.

        Raises:
            UserError: The network is no classifier.
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.class_logits(features)

    def description(self) -> dict[str, str]:
        """What the measurement says of the features: their name, the hash of the weights, the resize, foreign code."""
        description = {"name": self.name, "weights": self.weights_hash, "resize": self.resize}
        return {**description, "code": self.code} if self.code else description

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dimension), float32, of uint8 images (B, C, H, W), whatever precision surrounds the call."""
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise TypeError(f"features want uint8 images (B, C, H, W), not {images.dtype} {tuple(images.shape)}")
        with torch.autocast(images.device.type, enabled=False):
            parts = [self.extract(part).float() for part in images.split(self.images_at_once) if len(part)]
        return torch.cat(parts) if parts else images.new_zeros((0, self.dimension), dtype=torch.float32)
