"""Precision and recall (Kynkäänniemi et al., 2019), density and coverage (Naeem et al., 2020).

A set of features is taken for the union of balls round its rows, each reaching to the row's k-th nearest neighbour.
Precision is the share of generated rows within the reference's balls, recall the share of reference rows
within the generated ones' (k = 3). Density counts in how many of the reference's balls a generated row lies, over k;
coverage is the share of the reference's balls that hold any (k = 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fmlab.metrics.metric import FeatureRows
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Facts

PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5
_AT_ONCE = 1024


def distance_blocks(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Squared distances (B, M), float32, of so many rows of x (N, D) at a time from all rows of y (M, D).

    They are computed in float64 and rounded, so that one pair of rows has one distance whatever the block it is in;
    `objectives.transport.squared_distances` does not promise that.
    """
    y = y.double()
    y_squares = y.square().sum(dim=1)
    for part in x.double().split(_AT_ONCE):
        squares = part.square().sum(dim=1, keepdim=True) + y_squares
        yield torch.addmm(squares, part, y.T, alpha=-2).clamp(min=0).float()


def squared_radii(rows: Tensor, neighbours: Sequence[int]) -> list[Tensor]:
    """Squared distance (N,), float32, of each row (N, D) to its k-th nearest other row, for each k."""
    largest = max(neighbours) + 1  # a row is its own nearest
    nearest = torch.cat([d.topk(largest, largest=False).values for d in distance_blocks(rows, rows)])
    return [nearest[:, k] for k in neighbours]


class PrecisionRecallDensityCoverage(FeatureRows):
    """Precision, recall, density and coverage of features against reference features, each with its standard error.

    The error is that of the mean over the rows that are judged, while the balls stay as they are. Membership counts the
    edge for precision and recall and leaves it out for density and coverage, as in the papers' own code.

    Args:
        reference: Reference features (M, D).
        num_samples: Images of the whole set.
    """

    facts = Facts(
        name="prdc",
        title="precision, recall, density and coverage",
        kind="images",
        inputs=("features", "places"),
        outputs=("precision", "recall", "density", "coverage"),
        better="more",
        least=6,
        estimator="k = 3 for precision and recall, 5 for density and coverage, at most 10,000 images of each set, v1",
        spread="standard error over the images that are judged, the other set taken as fixed",
    )

    @classmethod
    def build(cls, parts: MetricParts) -> PrecisionRecallDensityCoverage:
        """The four against the reference's features."""
        return cls(parts.reference_features(cls.facts), parts.num_samples)

    def compute(self) -> dict[str, Tensor]:
        """`precision`, `recall`, `density`, `coverage`, and each with `_std`; float64 scalars."""
        # Centred, because |x|^2 + |y|^2 - 2 x.y loses the digits that rows share.
        centre = self.reference.double().mean(dim=0)
        generated, reference = self.gathered().double() - centre, self.reference.double() - centre
        if not bool(generated.isfinite().all()):
            return _means({name: generated.new_full((2,), float("nan")) for name in self.facts.outputs})
        of_generated = squared_radii(generated, [PRECISION_NEIGHBOURS])[0]
        of_reference, wider = squared_radii(reference, [PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS])
        precise, dense = [], []
        recalled = covered = torch.zeros(len(reference), dtype=torch.bool, device=reference.device)
        for d, radii in zip(distance_blocks(generated, reference), of_generated.split(_AT_ONCE)):
            precise.append((d <= of_reference).any(dim=1))
            recalled = recalled | (d <= radii[:, None]).any(dim=0)
            within = d < wider
            dense.append(within.sum(dim=1).double() / DENSITY_NEIGHBOURS)
            covered = covered | within.any(dim=0)
        judged = (torch.cat(precise), recalled, torch.cat(dense), covered)
        return _means(dict(zip(self.facts.outputs, judged)))


def _means(judged: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of what was judged row by row, and the standard error of that mean."""
    means = {name: values.double().mean() for name, values in judged.items()}
    errors = {f"{name}_std": values.double().std(correction=0) / len(values) ** 0.5 for name, values in judged.items()}
    return {**means, **errors}
