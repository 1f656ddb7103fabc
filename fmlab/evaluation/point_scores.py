"""The metrics of points."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.evaluation.processes import Processes
from fmlab.evaluation.provenance import data_reference, measurement
from fmlab.evaluation.wanted import METRICS
from fmlab.metrics import MaximumMeanDiscrepancy, Wasserstein2, reference_points
from fmlab.metrics.floor import Half
from fmlab.metrics.source import Source
from fmlab.records.measured import Record

POINT_METRICS: dict[str, Callable[[Tensor], Metric]] = {"w2": Wasserstein2, "mmd": MaximumMeanDiscrepancy}


class PointScores:
    """Metrics of points against a fixed choice of the reference's.

    Args:
        names: Out of `POINT_METRICS`.
        data: The data module of the reference.
        device: Where the metrics live.
    """

    def __init__(self, names: Sequence[str], data: Source, device: torch.device) -> None:
        points = reference_points(data)
        self.data, self.size, self.device = data, len(points), device
        self.metrics = {name: POINT_METRICS[name](points).to(device) for name in names}
        self.better = {name: better for name in names if (better := METRICS[name].better)}

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds float points (B, D); labels and places make no difference."""
        for metric in self.metrics.values():
            metric.update(samples)

    def compute(self) -> dict[str, float]:
        """The values over all processes, each of which enters."""
        with warnings.catch_warnings():
            # A process with no batch of its own, or one that goes on from a state, has not been updated.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            return {name: float(metric.compute()) for name, metric in self.metrics.items()}

    def reset(self) -> None:
        """Forgets all samples; what was computed of the reference alone is kept."""
        for metric in self.metrics.values():
            metric.reset()

    def state(self) -> dict[str, Any]:
        """The metrics' states: tensors, and lists of tensors."""
        return {name: dict(metric.metric_state) for name, metric in self.metrics.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Sets the metrics' states, each on the metric's own device."""
        self.reset()
        for name, metric in self.metrics.items():
            for attribute, value in state[name].items():
                moved = [part.to(metric.device) for part in value] if isinstance(value, list) else None
                setattr(metric, attribute, value.to(metric.device) if moved is None else moved)

    def measurement(self, samples: int) -> Record:
        """How the values are measured, for so many samples."""
        estimators = {name: METRICS[name].estimator for name in self.metrics}
        return measurement(estimators, samples, data_reference(self.data, self.size), None)

    def floor(self, count: int, batch_size: int, processes: Processes) -> dict[str, float]:
        """The values of so many points of one half of the reference against the other half."""
        scores, seen = PointScores(list(self.metrics), Half(self.data, 1), self.device), 0
        for index, batch in enumerate(Half(self.data, 0).reference_batches(batch_size)):
            if index % processes.count == processes.rank and seen < count:
                chosen = batch[: count - seen].to(self.device)
                scores.update(chosen.float().flatten(1), None, torch.arange(seen, seen + len(chosen)))
            seen += len(batch)
        return scores.compute()

    def remarks(self) -> list[str]:
        """Nothing."""
        return []
