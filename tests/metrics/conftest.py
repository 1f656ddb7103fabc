"""A tiny data set in memory with what the metrics need of a data module."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from fmlab.metrics.domain_training import Recipe


class TinySet:
    """Images (uint8) or points (float) in memory, labelled or not."""

    def __init__(self, x: Tensor, labels: Tensor | None = None, class_names: list[str] | None = None) -> None:
        self.x, self.labels, self.class_names = x, labels, class_names
        self.shape = tuple(x.shape[1:])
        self.num_classes = None if labels is None else int(labels.max()) + 1
        self.kind = "images" if x.dtype == torch.uint8 else "points"
        self.reads = 0

    def reference_batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        self.reads += 1
        yield from self.x[rank::world_size].split(batch_size)

    def reference_hash(self) -> str:
        return hashlib.sha256(self.x.numpy().tobytes()).hexdigest()

    def labelled_images(self, split: str) -> tuple[Tensor, Tensor]:
        assert self.labels is not None
        half = len(self.x) // 2
        chosen = slice(None, half) if split == "train" else slice(half, None)
        return self.x[chosen], self.labels[chosen]


def striped(n: int, shape: tuple[int, int, int] = (1, 8, 8)) -> TinySet:
    """Two classes that any classifier can tell apart: stripes across and stripes down, in noise."""
    generator = torch.Generator().manual_seed(0)
    stripes = (torch.arange(shape[1]) % 2 * 120).float()
    labels = torch.arange(n) % 2
    pattern = torch.stack([stripes[:, None].expand(shape[1:]), stripes.expand(shape[1:])])[labels][:, None]
    noise = torch.rand(n, *shape, generator=generator) * 120
    return TinySet((pattern + noise).to(torch.uint8), labels)


@pytest.fixture
def make_set() -> type[TinySet]:
    return TinySet


@pytest.fixture
def stripes() -> TinySet:
    return striped(120)


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier for another set sees 2,048 images instead of 20,000 or more."""
    monkeypatch.setattr("fmlab.metrics.domain_training.recipe_for", lambda data, images: Recipe(images=2048))
