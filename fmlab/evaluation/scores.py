"""The metrics that are asked for by name, fed with samples in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.errors import UserError, nearest
from fmlab.evaluation.provenance import Record, measurement
from fmlab.metrics import (
    FeatureNetwork,
    FrechetDistance,
    KernelDistance,
    MaximumMeanDiscrepancy,
    Wasserstein2,
    feature_network,
    metric_key,
    reference_points,
    reference_statistics,
)
from fmlab.metrics.source import Source


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
        make: Makes it from what is known of the reference.
        better: Whether less or more of it is better.
        least: The fewest samples it can be computed from.
        one_to_one: Whether each sample is matched with a reference point of its own.
    """

    kind: Literal["images", "points"]
    estimator: str
    make: Callable[[Any], Metric]
    better: Literal["less", "more"] = "less"
    least: int = 2
    one_to_one: bool = False


METRICS: dict[str, Wanted] = {
    "fid": Wanted("images", "Fréchet distance, unbiased covariances, float64, v1", FrechetDistance),
    "kid": Wanted(
        "images", "kernel (x.y/D + 1)^3, all pairs, unbiased, v1", lambda known: KernelDistance(known.features)
    ),
    "w2": Wanted(
        "points", "exact assignment to a fixed choice of as many reference points, v1", Wasserstein2, one_to_one=True
    ),
    "mmd": Wanted("points", "Gaussian kernel, median bandwidth, all pairs, unbiased, v1", MaximumMeanDiscrepancy),
}


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


class MetricScores:
    """Metrics of one reference: those of images share one forward of the feature network.

    Args:
        metrics: Each metric by the name of its value.
        estimators: How each is estimated.
        better: Whether less or more of each is better.
        network: The feature network, or None for points.
        data: The data module of the reference.
        size: The examples of the reference.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        estimators: Mapping[str, str],
        better: Mapping[str, Literal["less", "more"]],
        network: FeatureNetwork | None,
        data: Source,
        size: int,
    ) -> None:
        self.metrics, self.estimators, self.better = dict(metrics), dict(estimators), dict(better)
        self.network, self.data, self.size = network, data, size

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds uint8 images (B, C, H, W) or float points (B, D); labels and places make no difference to these."""
        rows = samples if self.network is None else self.network(samples)
        for metric in self.metrics.values():
            metric.update(rows)

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
        return measurement(self.estimators, samples, self.data, self.size, self.network)


def make_scores(
    names: Sequence[str],
    data: Any,
    network: FeatureNetwork | None,
    device: torch.device,
    cache: Path,
) -> MetricScores:
    """The metrics of these names against a data set's reference split.

    Args:
        names: Out of `METRICS`.
        data: The data set.
        network: The feature network for images, on the device on which it is to run; None for points.
        device: Where the metrics live; a device without float64 (Apple's) is replaced by the CPU.
        cache: The folder of cached reference statistics.
    """
    known: Any
    if network is None:
        known = reference_points(data)
        size, suffix = len(known), None
    else:
        known = reference_statistics(data, network, cache)
        size, suffix = known.n, network.name
    where = torch.device("cpu") if device.type == "mps" else device
    keys = {name: metric_key(name, suffix).removeprefix("val/") for name in names}  # type: ignore[arg-type]
    return MetricScores(
        {keys[name]: METRICS[name].make(known).to(where) for name in names},
        {keys[name]: METRICS[name].estimator for name in names},
        {keys[name]: METRICS[name].better for name in names},
        network,
        data,
        size,
    )


def make_network(features: str, data: Any, device: torch.device, cache: Path) -> FeatureNetwork | None:
    """The feature network of a data set on a device, or None for points; pairs are judged by what they are pairs of.

    Raises:
        UserError: If there are no such features, or they do not fit the data.
    """
    if data.kind == "points":
        return None
    try:
        return feature_network(features, getattr(data, "images", data), cache).to(device)
    except UserError as error:
        raise UserError(error.message, key=error.key or "features", hint=error.hint) from error
