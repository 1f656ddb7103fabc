"""What every feature network promises, the hash that names its weights, and the two networks that need no file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.metrics.registry import import_part, source_hash
from fmlab.random import fixed_generator

SHRINK = "none below 128 pixels; larger images are averaged by the whole factor that leaves at least 64"
"""What `shrink` does, in the words of the measurement."""
_KEY = 20_150_712  # of the random network; any fixed number


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
        """As `class_logits`, without gradients and whatever precision surrounds the call."""
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
        for parameter in self.parameters():
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


class OwnFeatures(FeatureNetwork):
    """An `nn.Module` without constructor arguments, from uint8 images (B, C, H, W) to features (B, D).

    Its weights and the file of its source are hashed, so features that change are never taken for the old ones.
    Parameters it draws at random are drawn from one seed.

    Args:
        path: Import path of the class, such as `my_features.MyFeatures`.
        shape: (channels, height, width) of the images.

    Raises:
        UserError: There is no such class, it cannot be made, or its features are no (B, D).
    """

    resize = "the network's own"
    images_at_once = 256

    def __init__(self, path: str, shape: Sequence[int]) -> None:
        super().__init__()
        network_class = import_part(path, nn.Module, "features")
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                self.network = network_class().eval()
            features = self.extract(torch.zeros(2, *shape, dtype=torch.uint8))
        except Exception as error:  # whatever the user's code raises
            cause = " ".join(str(error).split())
            raise UserError(f"{path} failed: {type(error).__name__}: {cause}", key="features") from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
            shown = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise UserError(f"{path} makes {shown} of 2 images, not features (2, D)", key="features")
        self.name = path.replace(".", "_")
        self.dimension = features.shape[1]
        self.code = source_hash(network_class)
        self.freeze()

    @torch.no_grad()
    def extract(self, images: Tensor) -> Tensor:
        """Features (B, D) of uint8 images (B, C, H, W)."""
        return self.network(images)
