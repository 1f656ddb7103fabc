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
from fmlab.metrics.reference import ReferenceData, statistics_key
from fmlab.metrics.registry import facts
from fmlab.metrics.subset import keyed_rows
from fmlab.random import fold


class ReferenceHalf:
    """One half of a data set's reference split: of two neighbours a keyed coin gives one to each half.

    It is a `ReferenceData` itself; its length is the number of its examples.

    Args:
        data: The data set.
        which: 0 or 1.
    """

    def __init__(self, data: ReferenceData, which: int) -> None:
        self.data, self.which = data, which
        self.shape, self.kind = data.shape, data.kind
        self.num_classes, self.class_names = data.num_classes, data.class_names

    def rows(self, start: int, stop: int) -> Tensor:
        """Which of the examples at these places of the split are in this half, bool (stop - start,)."""
        return torch.tensor([(fold(i // 2, 2) ^ i) & 1 == self.which for i in range(start, stop)], dtype=torch.bool)

    def __len__(self) -> int:
        return int(self.rows(0, reference_size(self.data)).sum())

    def reference_batches(self, batch_size: int) -> Iterator[Tensor]:
        """The half's examples, at most `batch_size` at a time."""
        start = 0
        for batch in self.data.reference_batches(batch_size):
            yield batch[self.rows(start, start + len(batch))]
            start += len(batch)

    def reference_hash(self) -> str:
        """SHA-256 (hex) that names the half."""
        return hashlib.sha256(f"{self.data.reference_hash()}|half {self.which}".encode()).hexdigest()

    def labelled_images(self, split: Literal["train", "validation"]) -> tuple[Tensor, Tensor]:
        """The half's images and labels of a split."""
        images, labels = self.data.labelled_images(split)
        rows = self.rows(0, len(labels))
        return images[rows], labels[rows]


def reference_size(data: Any) -> int:
    """The examples of a data set's reference split, counted by reading it where the data do not say."""
    name = getattr(data, "reference", None)
    return sum(map(len, data.reference_batches(4096))) if name is None else len(data.split(name))


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
        names = [name for name in names if "labels" not in facts(name).inputs]
    if not names:
        return {}
    half, other = ReferenceHalf(data, 0), ReferenceHalf(data, 1)
    images, with_labels = data.kind == "images", any("labels" in facts(name).inputs for name in names)
    content = statistics_key(half.reference_hash(), parts.network) if images else half.reference_hash()
    estimators = [metrics.metrics[name].estimator() for name in names]
    key = hashlib.sha256(json.dumps([content, names, estimators, parts.num_samples]).encode()).hexdigest()

    def measure() -> bytes:
        count = min(len(half), parts.num_samples)
        for name in names:
            if count < facts(name).least:
                cause = f"a half of the reference has {count} {data.kind}, and {name} needs {facts(name).least}"
                raise UserError(cause, key="metrics")
        network: Any = parts.network if images else "auto"
        classifier = parts.classifier if with_labels else None
        against = MetricParts(other, count, parts.cache_dir, network, classifier=classifier, device=parts.device)
        measured = MetricSet(names, against, alone=True)
        # Points come in no order.
        for batch in _taken(half, keyed_rows(len(half), count) if images else torch.arange(count), with_labels):
            measured.update(*batch)
        return json.dumps({**measured.compute(), "real_samples": count}).encode()

    path = Path(parts.cache_dir) / f"real-vs-real-{parts.network.name if images else 'points'}-{key[:16]}.json"
    return load_or_make(path, lambda path: dict(json.loads(path.read_text())), measure)


def _taken(half: ReferenceHalf, taken: Tensor, with_labels: bool) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """The examples of a half that are taken, their labels if those are needed, and their places among them."""
    labels = half.labelled_images(getattr(half.data, "reference", "train"))[1] if with_labels else None
    place_of_row = torch.full((len(half),), -1, dtype=torch.int64)
    place_of_row[taken] = torch.arange(len(taken))
    start = 0
    for batch in half.reference_batches(500):
        places = place_of_row[start : start + len(batch)]
        rows = (places >= 0).nonzero()[:, 0]
        samples = batch[rows] if half.kind == "images" else batch[rows].float().flatten(1)
        yield samples, None if labels is None else labels[start + rows], places[rows]
        start += len(batch)
