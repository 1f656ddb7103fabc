"""The metrics that are asked for by name, fed with samples in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.errors import UserError, nearest
from fmlab.evaluation.provenance import Record, measurement
from fmlab.metrics import (
    ImageMetrics,
    MaximumMeanDiscrepancy,
    Wasserstein2,
    image_metrics,
    metric_key,
    reference_points,
)
from fmlab.metrics.keys import Score
from fmlab.metrics.reference import sums_device
from fmlab.metrics.source import Source
from fmlab.metrics.wanted import METRICS as IMAGE_METRICS


class Scores(Protocol):
    """What an evaluation asks of its metrics: they see every sample once, and their state can be kept and given back.

    Attributes:
        better: Of each value's name, whether less or more of it is better; a spread has none.
    """

    better: dict[str, Literal["less", "more"]]

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds uint8 images (B, C, H, W) or float points (B, D).

        Args:
            samples: The images or points.
            labels: What they were made for, int64 (B,), or None.
            places: Their places among all samples, int64 (B,): what is kept or split depends on these alone.
        """

    def compute(self) -> dict[str, float]:
        """All values by name, over all processes, each of which enters; `NAME_std` is the spread of `NAME`."""

    def reset(self) -> None:
        """Forgets all samples."""

    def state(self) -> dict[str, Any]:
        """What this process has seen, as tensors and plain values."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""

    def measurement(self, samples: int) -> Record:
        """How the values are measured, for so many samples."""


@dataclass(frozen=True)
class Wanted:
    """A metric that can be asked for.

    Attributes:
        kind: Whether it compares images or points.
        estimator: How it is estimated, with a version that changes when numbers do.
        better: Whether less or more of it is better.
        least: The fewest samples it can be computed from.
        one_to_one: Whether each sample is matched with a reference point of its own.
    """

    kind: Literal["images", "points"]
    estimator: str
    better: Literal["less", "more"] = "less"
    least: int = 2
    one_to_one: bool = False


METRICS: dict[str, Wanted] = {
    **{name: Wanted("images", known.estimator, known.better, known.images) for name, known in IMAGE_METRICS.items()},
    "bpd": Wanted("images", "by `LikelihoodScores`, on held-out images", least=1),
    "w2": Wanted("points", "exact assignment to a fixed choice of as many reference points, v1", one_to_one=True),
    "mmd": Wanted("points", "Gaussian kernel, median bandwidth, all pairs, unbiased, v1"),
}
POINT_METRICS: dict[str, Callable[[Tensor], Metric]] = {"w2": Wasserstein2, "mmd": MaximumMeanDiscrepancy}
USUAL = {"images": ["fid", "kid"], "points": ["w2", "mmd"]}
"""The metrics where none is named."""


def check_wanted(names: Sequence[str], kind: str, samples: int) -> None:
    """Refuses metrics that there are not, that are for another kind of data, or that need more samples.

    Raises:
        UserError: At the first such metric.
    """
    fitting = [name for name, wanted in METRICS.items() if wanted.kind == kind]
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}", key="metrics", hint=nearest(name, fitting))
        if name not in fitting:
            cause = f"{name} compares {METRICS[name].kind}, and these are {kind}"
            raise UserError(cause, key="metrics", hint=f"choose from: {', '.join(fitting)}")
        if samples < METRICS[name].least:
            least = METRICS[name].least
            raise UserError(
                f"{name} needs at least {least} {kind}, got {samples}", key="n", hint=f"--n {least} or more"
            )


class PointScores:
    """Metrics of points against a fixed choice of the reference's.

    Args:
        names: Out of `POINT_METRICS`.
        data: The data module of the reference.
        device: Where the metrics live.
    """

    def __init__(self, names: Sequence[str], data: Source, device: torch.device) -> None:
        points = reference_points(data)
        self.data, self.size = data, len(points)
        self.metrics = {name: POINT_METRICS[name](points).to(device) for name in names}
        self.better = {name: METRICS[name].better for name in names}

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
        return measurement(estimators, samples, self.data, self.size, None)


class ImageScores:
    """The metrics of images, which share one forward of the feature network.

    Args:
        metrics: The metrics.
        data: The data module of the reference.
    """

    def __init__(self, metrics: ImageMetrics, data: Source) -> None:
        self.metrics, self.data, self.size = metrics, data, metrics.reference.n
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
        return measurement(estimators, samples, self.data, self.size, network)


def make_scores(
    names: Sequence[str], data: Any, samples: int, features: str, device: torch.device, cache: Path
) -> PointScores | ImageScores:
    """The metrics of these names against a data set's reference split.

    Args:
        names: Out of `METRICS`.
        data: The data set.
        samples: How many samples there will be, over all processes.
        features: Which network sees the images.
        device: Where the metrics live; a device without float64 (Apple's) is replaced by the CPU.
        cache: The folder of cached reference statistics.

    Raises:
        UserError: If there are no such features, they or the data lack what a metric needs, or one is not of samples.
    """
    if "bpd" in names:
        cause = "bpd is measured on held-out images, the other metrics on generated ones"
        raise UserError(cause, key="metrics", hint="measure it by itself: --metrics bpd")
    if data.kind == "points":
        return PointScores(names, data, sums_device(device))
    try:
        return ImageScores(image_metrics(names, data, samples, cache, features, device=device), data)
    except UserError as error:
        raise UserError(error.message, key=error.key or "features", hint=error.hint) from error
