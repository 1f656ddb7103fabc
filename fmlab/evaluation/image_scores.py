"""The metrics of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from fmlab.evaluation.processes import Processes
from fmlab.evaluation.provenance import data_reference, measurement
from fmlab.evaluation.wanted import METRICS
from fmlab.metrics import ImageMetrics, cache_folder, halves, metric_key
from fmlab.metrics.keys import Score
from fmlab.metrics.source import Source
from fmlab.records.measured import Record


class ImageScores:
    """The metrics of images, which share one forward of the feature network.

    Args:
        metrics: The metrics.
        data: The data module of the reference.
        file: The file of reference statistics that stands in the place of the data's, or None.
    """

    def __init__(self, metrics: ImageMetrics, data: Source, file: str | None = None) -> None:
        self.metrics, self.data, self.size, self.file = metrics, data, metrics.reference.n, file
        self.better = metrics.better

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds uint8 images (B, C, H, W)."""
        self.metrics.update(samples, labels, places)

    def compute(self) -> dict[str, float]:
        """The values and spreads over all processes, each of which enters."""
        return self.metrics.compute()

    def reset(self) -> None:
        """Forgets all images."""
        self.metrics.reset()

    def state(self) -> dict[str, Any]:
        """What this process has counted, as tensors."""
        return dict(self.metrics.state())

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.reset()
        self.metrics.add_state(dict(state))

    def measurement(self, samples: int) -> Record:
        """How the values are measured, for so many samples."""
        network = self.metrics.network
        # Class accuracy goes by the domain classifier, whatever the features; its weights are part of the measurement.
        seen_by = {name: "domain" if name == "accuracy" else network.name for name in self.metrics.names}
        texts = {name: METRICS[name].estimator for name in seen_by}
        if "accuracy" in texts:
            texts["accuracy"] = self.metrics.estimators()["accuracy"]
        estimators = {metric_key(cast(Score, name), seen_by[name], ""): text for name, text in texts.items()}
        reference = data_reference(self.data, self.size)
        if self.file is not None:
            known = self.metrics.reference
            reference = {"data": known.file, "split": None, "size": known.n, "hash": known.key}
        return measurement(estimators, samples, reference, network)

    def floor(self, count: int, batch_size: int, processes: Processes) -> dict[str, float]:
        """The values of so many images of one half of the reference against the other; none where it is a file's."""
        if self.file is not None:
            return {}
        metrics = self.metrics
        found = halves(metrics.names, self.data, metrics.network, count, cache_folder(), metrics.classifier)
        return {name: value for name, value in found.items() if name != "real_images"}

    def remarks(self) -> list[str]:
        """What a reader of the numbers should know, a line each."""
        without = "no floor: the reference is a file of statistics, which has no halves"
        return [*self.metrics.remarks(), *([] if self.file is None else [without])]
