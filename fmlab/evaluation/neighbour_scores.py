"""Nearest training neighbours of samples, as one of the metrics of an evaluation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.evaluation.processes import Processes
from fmlab.evaluation.provenance import data_reference, measurement
from fmlab.evaluation.wanted import METRICS
from fmlab.metrics import NearestNeighbours
from fmlab.metrics.neighbour_sets import neighbour_sets
from fmlab.records.measured import Record


class NeighbourScores:
    """Whether samples are nearer to training examples than new real ones are.

    Values: `neighbour_ratio`, about 1 for new draws of the same law and 0 for copies, and `neighbour_share`, the share
    of samples nearer than the first percentile of held-out examples, 0.01 for new draws; each with its spread.

    Args:
        data: The data module with the training set.
        device: Where it is compared.

    Raises:
        UserError: If the training set is not in memory, or too few examples are held out.
    """

    def __init__(self, data: Any, device: torch.device) -> None:
        self.data, self.device = data, device
        try:
            self.known, held_out = neighbour_sets(data)
        except UserError as error:
            raise UserError(error.message, key="metrics", hint="leave neighbours out") from error
        self.size = len(held_out)
        # Points come flat to the metrics, whatever their event's shape.
        self.flat = data.kind == "points"
        self.metric = NearestNeighbours(self._seen(self.known), self._seen(held_out))
        self.better: dict[str, Literal["less", "more"]] = {}

    def _seen(self, examples: Tensor) -> Tensor:
        return (examples.float().flatten(1) if self.flat else examples).to(self.device)

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds uint8 images or points; labels make no difference."""
        self.metric.update(samples, places)

    def compute(self) -> dict[str, float]:
        """The values and spreads over all processes, each of which enters."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            found = self.metric.compute()
        values = {
            "neighbour_ratio": found["ratio"],
            "neighbour_ratio_std": found["ratio_error"],
            "neighbour_share": found["share"],
            "neighbour_share_std": found["share_error"],
        }
        return {name: float(value) for name, value in values.items() if not math.isnan(value)}

    def closest(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the samples of all processes that lie nearest to training examples, once they are computed.

        Returns:
            Their places (n,), nearest first, their training examples (n, *event), and the distances (n,).
        """
        distances, rows, places = self.metric.pairs[:count].T
        return places.long(), self.known[rows.long().to(self.known.device)], distances

    def reset(self) -> None:
        """Forgets all samples."""
        self.metric.reset()

    def state(self) -> dict[str, Any]:
        """What this process has found."""
        return {"found": torch.cat(self.metric.found).cpu()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.reset()
        self.metric.found.append(state["found"].to(self.metric.found[0].device))

    def measurement(self, samples: int) -> Record:
        """How the values are measured, for so many samples."""
        estimators = {"neighbours": METRICS["neighbours"].estimator}
        reference = {**data_reference(self.data, len(self.known)), "split": f"train, and {self.size} of validation"}
        return measurement(estimators, samples, reference, None)

    def floor(self, count: int, batch_size: int, processes: Processes) -> dict[str, float]:
        """Nothing: held-out examples have ratio 1 and share 0.01 by what these are."""
        return {}

    def remarks(self) -> list[str]:
        """Nothing."""
        return []
