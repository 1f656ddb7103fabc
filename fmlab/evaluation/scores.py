"""The metrics that are asked for by name, fed with samples in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.evaluation.image_scores import ImageScores
from fmlab.evaluation.neighbour_scores import NeighbourScores
from fmlab.evaluation.point_scores import PointScores
from fmlab.evaluation.processes import Processes
from fmlab.metrics import image_metrics
from fmlab.metrics.reference import sums_device
from fmlab.records.measured import Record


class Scores(Protocol):
    """What an evaluation asks of its metrics: they see every sample once, and their state can be kept and given back.

    Attributes:
        better: Of each value's name, whether less or more of it is better, where either is.
        size: Reference examples, where they are counted.
    """

    better: dict[str, Literal["less", "more"]]

    @property
    def size(self) -> int | None: ...

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

    def floor(self, count: int, batch_size: int, processes: Processes) -> dict[str, float]:
        """The values of one half of the real data against the other, as many as `count` where a half has them; {} where
        there is no such thing. Every process enters."""

    def remarks(self) -> list[str]:
        """What a reader of the numbers should know, a line each."""


class TogetherScores:
    """Several scores that see the same samples.

    Args:
        parts: At least one; the measurement is the first's, with the estimators of all.
    """

    def __init__(self, parts: Sequence[Scores]) -> None:
        self.parts, self.size = list(parts), parts[0].size
        self.better = {name: side for part in parts for name, side in part.better.items()}

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds samples to every part."""
        for part in self.parts:
            part.update(samples, labels, places)

    def compute(self) -> dict[str, float]:
        """The values of every part."""
        return {name: value for part in self.parts for name, value in part.compute().items()}

    def reset(self) -> None:
        """Forgets all samples."""
        for part in self.parts:
            part.reset()

    def state(self) -> dict[str, Any]:
        """The parts' states by their places."""
        return {str(index): part.state() for index, part in enumerate(self.parts)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        for index, part in enumerate(self.parts):
            part.load_state(state[str(index)])

    def measurement(self, samples: int) -> Record:
        """How the values are measured, for so many samples."""
        measured = [part.measurement(samples) for part in self.parts]
        estimators = {name: text for one in measured for name, text in one["estimators"].items()}
        return {**measured[0], "estimators": estimators}

    def floor(self, count: int, batch_size: int, processes: Processes) -> dict[str, float]:
        """The floors of every part."""
        return {k: v for part in self.parts for k, v in part.floor(count, batch_size, processes).items()}

    def remarks(self) -> list[str]:
        """The remarks of every part."""
        return [line for part in self.parts for line in part.remarks()]


def make_scores(
    names: Sequence[str],
    data: Any,
    samples: int,
    features: str,
    device: torch.device,
    cache: Path,
    reference: str | None = None,
) -> Scores:
    """The metrics of these names against a data set's reference split.

    Args:
        names: Out of `METRICS`.
        data: The data set.
        samples: How many samples there will be, over all processes.
        features: Which network sees the images.
        device: Where the metrics live; a device without float64 (Apple's) is replaced by the CPU.
        cache: The folder of cached reference statistics.
        reference: A file of reference statistics of images in the place of the data's own.

    Raises:
        UserError: If there are no such features, or they, the file or the data lack what a metric needs, or one is not
            of samples.
    """
    if "bpd" in names:
        cause = "bpd is measured on held-out images, the other metrics on generated ones"
        raise UserError(cause, key="metrics", hint="measure it by itself: --metrics bpd")
    own, where = [name for name in names if name != "neighbours"], sums_device(device)
    parts: list[Scores] = []
    if data.kind == "points" and own:
        parts.append(PointScores(own, data, where))
    elif own:
        try:
            metrics = image_metrics(own, data, samples, cache, features, reference=reference, device=device)
        except UserError as error:
            raise UserError(error.message, key=error.key or "features", hint=error.hint) from error
        parts.append(ImageScores(metrics, data, reference))
    if "neighbours" in names:
        parts.append(NeighbourScores(data, where))
    return parts[0] if len(parts) == 1 else TogetherScores(parts)
