"""The real-vs-real distance: what a metric says of real examples against other real examples of the same set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.cache import load_or_make
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.reference import reference_key
from fmlab.metrics.reference_data import ReferenceData
from fmlab.metrics.registry import facts
from fmlab.metrics.subset import keyed_rows
from fmlab.random import fold


class ReferenceHalf:
    """One half of a data set's reference split: of two neighbours a keyed coin gives one to each half.

    Args:
        data: The data set.
        which: 0 or 1.
    """

    def __init__(self, data: ReferenceData, which: int) -> None:
        self.data, self.which = data, which
        self.shape, self.kind = data.shape, data.kind
        self.num_classes, self.class_names = data.num_classes, data.class_names

    def holds(self, index: int) -> bool:
        """Whether the example with this place in the split is in this half."""
        return (fold(index // 2, 2) ^ index) & 1 == self.which

    def __len__(self) -> int:
        """Its images or points."""
        return sum(self.holds(index) for index in range(reference_size(self.data)))

    def reference_batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """The half's examples, at most `batch_size` at a time."""
        start = held = 0
        for batch in self.data.reference_batches(batch_size):
            mine = batch[torch.tensor([self.holds(start + offset) for offset in range(len(batch))], dtype=torch.bool)]
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

    def split(self, name: Literal["train", "validation"]) -> Any:
        """A half has no splits of its own."""
        raise UserError(f"half of the reference split has no {name} split")

    def training_examples(self) -> Tensor:
        """A half is not trained on."""
        raise UserError("half of the reference split is not trained on")


def reference_size(data: ReferenceData) -> int:
    """The examples of a data set's reference split, counted by reading it where the data do not say."""
    name = getattr(data, "reference", None)
    if name is not None:
        return len(data.split(name))
    return sum(len(batch) for batch in data.reference_batches(4096))


def real_vs_real(metrics: MetricSet) -> dict[str, float]:
    """The metrics of one half of the real set, measured against the other half, from the cache or computed into it.

    As many real examples are taken for generated ones as are generated, if a half has them: a Fréchet distance depends
    on that number. Every rank may call it: one computes, the others wait for the file.

    Args:
        metrics: The metrics of the generated samples, whose parts are used; a file of reference statistics is not.

    Returns:
        Values and spreads by key, as `MetricSet.compute` gives them, and `real_samples`, how many were taken. Metrics
        that are not of the reference split are left out, and so is `accuracy` where labels are not in memory.

    Raises:
        UserError: A half has fewer examples than a metric needs.
    """
    parts, data = metrics.parts, metrics.parts.data
    names = [name for name in metrics.names if facts(name).against_reference]
    if not getattr(data, "in_memory", True):
        names = [name for name in names if name != "accuracy"]
    if not names:
        return {}
    half, other = ReferenceHalf(data, 0), ReferenceHalf(data, 1)
    images = data.kind == "images"
    classifier = parts.classifier if "accuracy" in names else None
    content = reference_key(half, parts.network) if images else half.reference_hash()
    estimators = [facts(name).estimator for name in names]
    decisive = [content, names, estimators, parts.num_samples, classifier and classifier.weights_hash]
    key = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()

    def measure() -> bytes:
        size = len(half)
        count = min(size, parts.num_samples)
        for name in names:
            if count < facts(name).least:
                cause = f"a half of the reference has {count} {data.kind}, and {name} needs {facts(name).least}"
                raise UserError(cause, key="metrics")
        network: Any = parts.network if images else "auto"
        against = MetricParts(other, count, parts.cache_dir, network, classifier=classifier, device=parts.device)
        measured = MetricSet(names, against, alone=True)
        taken = keyed_rows(size, count) if images else torch.arange(count)  # points come in no order
        for batch in _taken(half, size, taken, "accuracy" in names):
            measured.update(*batch)
        return json.dumps({**measured.compute(), "real_samples": count}).encode()

    path = Path(parts.cache_dir) / f"real-vs-real-{parts.network.name if images else 'points'}-{key[:16]}.json"
    return load_or_make(path, lambda path: dict(json.loads(path.read_text())), measure)


def _taken(
    half: ReferenceHalf, size: int, taken: Tensor, with_labels: bool
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """The examples of a half that are taken, their labels if those are needed, and their places among them."""
    labels = half.labelled_images(getattr(half.data, "reference", "train"))[1] if with_labels else None
    place_of_row = torch.full((size,), -1, dtype=torch.int64)
    place_of_row[taken] = torch.arange(len(taken))
    start = 0
    for batch in half.reference_batches(500):
        places = place_of_row[start : start + len(batch)]
        rows = (places >= 0).nonzero()[:, 0]
        samples = batch[rows] if half.kind == "images" else batch[rows].float().flatten(1)
        yield samples, None if labels is None else labels[start + rows], places[rows]
        start += len(batch)
