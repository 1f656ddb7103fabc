"""Memorisation: whether samples are nearer to the training examples than new real ones are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from fmlab.data.pixels import to_uint8
from fmlab.diagnosis.subject import Subject
from fmlab.metrics.neighbours import Memorisation, NearestNeighbours, memorisation, neighbour_sets


@dataclass(frozen=True)
class Neighbours:
    """Samples (n, *event), as uint8 images or points, and the training examples nearest to them.

    Attributes:
        distances: Root mean square differences an entry (n,): of images in grey levels.
        held_out: The same of the held-out examples.
    """

    summary: Memorisation
    samples: Tensor
    nearest: Tensor
    distances: Tensor
    held_out: Tensor

    def record(self) -> dict[str, Any]:
        """Everything in plain values."""
        return {**asdict(self.summary), "samples": len(self.samples), "held_out_examples": len(self.held_out)}


def measure_neighbours(subject: Subject, samples: Tensor) -> Neighbours:
    """Finds the nearest training examples of samples, mirror images included where training saw them."""
    training, held_out = neighbour_sets(subject.data)
    compared = to_uint8(samples) if subject.images else samples
    metric = NearestNeighbours(training.to(subject.device), held_out.to(subject.device))
    metric.update(compared)
    distances, rows = metric.neighbours()
    summary = memorisation(distances.sort().values, metric.held_out)
    return Neighbours(summary, compared, training[rows.to(training.device)], distances.cpu(), metric.held_out.cpu())
