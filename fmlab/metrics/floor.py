"""The floor of a metric: what it says of real images against other real images of the same set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fmlab.data import DataModule
from fmlab.errors import UserError
from fmlab.metrics.cache import load_or_make
from fmlab.metrics.choice import keyed_rows
from fmlab.metrics.domain import DomainClassifier
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.one_pass import ImageMetrics
from fmlab.metrics.reference import reference_key, reference_statistics
from fmlab.metrics.source import Source
from fmlab.metrics.wanted import METRICS, check_metrics
from fmlab.random import fold


class Half:
    """One half of a data set's reference split: of two neighbours a keyed coin gives one to each half.

    Args:
        data: The data set.
        which: 0 or 1.
    """

    def __init__(self, data: Source, which: int) -> None:
        self.data, self.which = data, which
        self.shape, self.kind = data.shape, data.kind
        self.num_classes, self.class_names = data.num_classes, data.class_names

    def holds(self, index: int) -> bool:
        """Whether the image with this place in the split is in this half."""
        return (fold(index // 2, 2) ^ index) & 1 == self.which

    def __len__(self) -> int:
        """Its images or points."""
        return sum(self.holds(index) for index in range(reference_size(self.data)))

    def reference_batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """The half's images, at most `batch_size` at a time."""
        start = held = 0
        for batch in self.data.reference_batches(batch_size):
            mine = batch[torch.tensor([self.holds(start + place) for place in range(len(batch))], dtype=torch.bool)]
            yield mine[(rank - held) % world_size :: world_size]
            start, held = start + len(batch), held + len(mine)

    def reference_hash(self) -> str:
        """SHA-256 (hex) that names the half."""
        return hashlib.sha256(f"{self.data.reference_hash()}|half {self.which}".encode()).hexdigest()

    def labelled_images(self, split: Literal["train", "validation"]) -> tuple[Tensor, Tensor]:
        """The half's images and labels of a split."""
        images, labels = self.data.labelled_images(split)
        mine = torch.tensor([self.holds(index) for index in range(len(labels))], dtype=torch.bool)
        return images[mine], labels[mine]


def reference_size(data: Source) -> int:
    """The examples of a data set's reference split, counted by reading it where it is not ours."""
    if isinstance(data, DataModule):
        return len(data.split(data.reference))
    return sum(len(batch) for batch in data.reference_batches(4096))


def halves(
    names: Sequence[str],
    data: Source,
    network: FeatureNetwork,
    num_images: int,
    cache_dir: str | Path,
    classifier: DomainClassifier | None = None,
) -> dict[str, float]:
    """The metrics of one half of the real set, measured against the other half, from the cache or computed into it.

    As many real images are taken for generated ones as are generated, if a half has them: a Fréchet distance depends on
    that number. Every rank may call it: one computes, the others wait for the file.

    Args:
        names: Which of `METRICS`.
        data: The data set, of images.
        network: The feature network, on the device on which it is to run.
        num_images: Images that are generated.
        cache_dir: Folder of the cache.
        classifier: Whose classes `accuracy` goes by, as for `ImageMetrics`.

    Returns:
        Values and spreads by key, as `ImageMetrics.compute` gives them, and `real_images`, how many were taken.

    Raises:
        UserError: A half has fewer images than a metric needs.
    """
    names = check_metrics(names, num_images)
    if not getattr(data, "in_memory", True):
        names = [name for name in names if name != "accuracy"]  # the labels beside the images are not at hand
    first, second = Half(data, 0), Half(data, 1)
    estimators = [METRICS[name].estimator for name in names]
    known = [reference_key(first, network), names, estimators, num_images, classifier and classifier.weights_hash]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def measure() -> bytes:
        total, other = (reference_statistics(each, network, cache_dir) for each in (data, second))
        in_half = int(total.n or 0) - int(other.n or 0)
        taken = keyed_rows(in_half, num_images)
        for name in names:
            if len(taken) < METRICS[name].images:
                said = f"a half of the reference has {len(taken)} images, and {name} needs {METRICS[name].images}"
                raise UserError(said, key="metrics")
        metrics = ImageMetrics(names, network, other, len(taken), classifier, alone=True)
        for images, labels, places in _chosen(first, in_half, taken, "accuracy" in names):
            metrics.update(images, labels, places)
        return json.dumps({**metrics.compute(), "real_images": len(taken)}).encode()

    path = Path(cache_dir) / f"halves-{network.name}-{key[:16]}.json"
    return load_or_make(path, lambda path: dict(json.loads(path.read_text())), measure)


def _chosen(
    half: Half, in_half: int, taken: Tensor, with_labels: bool
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """The images of a half that are taken, their labels if those are wanted, and their places among these images."""
    labels = half.labelled_images(getattr(half.data, "reference", "train"))[1] if with_labels else None
    place = torch.full((in_half,), -1, dtype=torch.int64)
    place[taken] = torch.arange(len(taken))
    start = 0
    for images in half.reference_batches(500):
        places = place[start : start + len(images)]
        rows = (places >= 0).nonzero()[:, 0]
        yield images[rows], None if labels is None else labels[start + rows], places[rows]
        start += len(images)
