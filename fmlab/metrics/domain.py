"""Small classifiers whose penultimate activations are the features of `val/fid_domain`.

Networks for the handwritten digits, Fashion-MNIST and CIFAR-10 ship beside this file, so the number means the same on
every machine. Another labelled set trains one once, with the same recipe (`domain_training.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from fmlab.metrics.network import SHRINK, FeatureNetwork, shrink
from fmlab.metrics.reference import ReferenceData

SHIPPED = {"Digits": "digits", "FashionMNIST": "fashion_mnist", "CIFAR10": "cifar10"}
"""The data modules whose network ships, and its file's name."""
_CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class _Block(nn.Module):
    """Convolution, batch norm, ReLU; added to its input where the channels allow it."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.residual = channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.conv(x)))
        return x + y if self.residual else y


def _halve(x: Tensor) -> Tensor:
    """Max-pooling by two, of maps that have the room for it."""
    return F.max_pool2d(x, 2) if min(x.shape[-2:]) >= 6 else x


class DomainClassifier(FeatureNetwork):
    """A convolutional classifier of small images; larger ones are averaged down to at least 64 pixels first.

    Args:
        shape: (channels, height, width) of the images.
        num_classes: Number of classes.
        width: Channels of the first layer; the features have three times as many dimensions.
    """

    name = "domain"
    resize = SHRINK

    def __init__(self, shape: Sequence[int], num_classes: int, width: int = 24) -> None:
        super().__init__()
        self.shape, self.num_classes, self.width = tuple(shape), num_classes, width
        self.dimension = 3 * width
        self.metadata: dict[str, str] = {}
        stride = max(1, round(min(64, *self.shape[1:]) / 16))
        self.stem = _Block(self.shape[0], width, kernel=stride + 2, stride=stride)
        self.low = _Block(width, 2 * width)
        self.middle = nn.Sequential(_Block(2 * width, 3 * width), _Block(3 * width, 3 * width))
        self.high = _Block(3 * width, 3 * width)
        self.head = nn.Linear(self.dimension, num_classes)

    def extract(self, images: Tensor) -> Tensor:
        """Penultimate features (B, 3 width) of uint8 images (B, C, H, W)."""
        x = shrink(images.float() / 127.5 - 1)
        x = _halve(self.low(self.stem(x)))
        return self.high(_halve(self.middle(x))).mean(dim=(2, 3))

    def class_logits(self, features: Tensor) -> Tensor:
        """Class logits (B, num_classes) of features (B, 3 width)."""
        return self.head(features)

    def logits(self, images: Tensor) -> Tensor:
        """Class logits (B, num_classes) of uint8 images (B, C, H, W)."""
        return self.class_logits(self.extract(images))

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of uint8 images (N, C, H, W) to which the network gives their label."""
        right = [(self.logits(x).argmax(dim=1) == y).sum() for x, y in zip(images.split(1024), labels.split(1024))]
        return int(sum(right)) / len(images)


def to_bytes(network: DomainClassifier, metadata: Mapping[str, object]) -> bytes:
    """A safetensors file of the weights in half precision, with what rebuilds the network in its metadata."""
    half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    built = {"shape": list(network.shape), "num_classes": network.num_classes, "width": network.width}
    return save(half, {key: str(value) for key, value in {**built, **metadata}.items()})


def load_bytes(content: bytes) -> DomainClassifier:
    """The frozen classifier of the content of a file that `to_bytes` made; it computes in float32."""
    # A safetensors file begins with the length of its JSON header; the library's own reader gives tensors alone.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header["__metadata__"]
    network = DomainClassifier(json.loads(metadata["shape"]), int(metadata["num_classes"]), int(metadata["width"]))
    network.load_state_dict(load(content))
    network.metadata = metadata
    network.freeze()
    return network


def shipped_network(name: str) -> DomainClassifier:
    """The classifier that ships as `digits`, `fashion_mnist` or `cifar10`."""
    return load_bytes((Path(__file__).parent / "domain" / f"{name}.safetensors").read_bytes())


def shipped_names(data: ReferenceData) -> list[str]:
    """Names of the shipped networks that were made for this set, whatever the size of its images."""
    names = [SHIPPED[base.__name__] for base in type(data).__mro__ if base.__name__ in SHIPPED]
    if not names and list(data.class_names or ()) == _CIFAR10_CLASSES:  # in this order: the logits have it too
        names.append("cifar10")
    return names
