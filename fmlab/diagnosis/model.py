"""Model error: the excess loss of the network over the exact field, by time, and whether training still lowers it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from fmlab.diagnosis.subject import Subject
from fmlab.distributions import Empirical
from fmlab.objectives import MeansByTime
from fmlab.records import RunLayout, read_metrics
from fmlab.training.exact_law import nearest_law
from fmlab.training.loss_floor import ExcessLoss

DRAWS, BATCH = 2048, 256
# Products that the exact field of a finite set may cost: a minute on two cores, all draws for Fashion-MNIST.
BUDGET = 4e11
# In a bin whose floor is below this share of E |u|^2, the exact field of a finite set already leads to one example and
# nothing else: an excess there is no fault.
DECIDED = 0.01
FEWEST = 20  # draws that a bin needs to be called the worst
NEGLIGIBLE = 1e-6  # a relative excess of rounding in float32


@dataclass(frozen=True)
class ModelError:
    """The excess loss of a network by time, over the exact field of a law, which may be a finite set of examples."""

    means: MeansByTime
    law: str
    finite: bool

    @property
    def relative(self) -> float:
        """The excess over E |u|^2, in all: 0 for a perfect network, 1 for one that answers 0."""
        return self.means.overall("excess").value / self.means.overall("size").value

    @property
    def relative_by_bin(self) -> list[float]:
        """The same in each bin; NaN without draws."""
        excess, size = self.means.by_bin("excess"), self.means.by_bin("size")
        return [e.value / s.value if s.draws and s.value > 0 else math.nan for e, s in zip(excess, size)]

    @property
    def undecided(self) -> list[bool]:
        """In which bins the exact field does not lead to one example yet; all of them for a law in closed form."""
        floor, size = self.means.by_bin("floor"), self.means.by_bin("size")
        return [not self.finite or f.value > DECIDED * s.value for f, s in zip(floor, size)]

    @property
    def worst(self) -> int | None:
        """The undecided bin with the largest relative excess, of those with enough draws; None where there is none."""
        draws = [mean.draws for mean in self.means.by_bin("excess")]
        candidates = [
            (relative, index)
            for index, (relative, is_undecided) in enumerate(zip(self.relative_by_bin, self.undecided))
            if is_undecided and draws[index] >= FEWEST and relative > NEGLIGIBLE
        ]
        return max(candidates)[1] if candidates else None

    def bounds(self, index: int) -> str:
        """A bin's times in words."""
        return f"{index / self.means.bins:.1f} to {(index + 1) / self.means.bins:.1f}"

    def record(self) -> dict[str, Any]:
        """Everything in plain values."""
        worst = self.worst
        return {
            "law": self.law,
            "relative_excess": self.relative,
            "most_wrong": None if worst is None else self.bounds(worst),
            **self.means.record(),
        }


def measure_model(subject: Subject) -> ModelError:
    """Measures the excess loss of the subject's network over the closest exact field that is known."""
    law = nearest_law(subject.module, subject.data, "model error")
    draws, finite = DRAWS, isinstance(law, Empirical)
    if isinstance(law, Empirical):
        entries = len(law) * law.points[0].numel()
        draws = int(min(DRAWS, max(BATCH, BUDGET / (4 * entries))))
    terms = ExcessLoss(subject.module, subject.data, law, draws, BATCH, repeated=False)
    means = terms.measure(subject.module.evaluation_network, subject.device)
    return ModelError(means, _describe(law, subject.images), finite)


def _describe(law: Any, images: bool) -> str:
    if not isinstance(law, Empirical):
        return "the law that the data are drawn from"
    mirrored = ", mirror images included" if law.mirrored else ""
    return f"all {len(law):,} training {'images' if images else 'points'}{mirrored}"


def recent_fall(run: RunLayout, floor: float) -> float | None:
    """By what share the excess of the training loss fell in the last quarter of training at a high learning rate.

    A loss no longer falls once the learning rate is low, whatever the network could still learn. So only the part of
    training counts in which the rate was at least half its largest, and its last quarter is compared with its third.

    The floor is what a perfect network would lose, or 0. The share is negative where the excess rose, and None where
    the log is too short or the excess is lost in the floor.
    """
    if not run.metrics.is_file():
        return None
    rows = [row for row in read_metrics(run.metrics) if row.get("train/loss") not in (None, "")]
    rates = [float(row.get("train/lr") or 1.0) for row in rows]
    losses = [float(row["train/loss"]) for row, rate in zip(rows, rates) if rate >= max(rates) / 2]
    quarter = len(losses) // 4
    if quarter < 1:
        return None
    before, last = (statistics.fmean(part) - floor for part in (losses[-2 * quarter : -quarter], losses[-quarter:]))
    return (before - last) / before if before > 0 else None
