"""The grid over one trained network, every combination of its axes a cell; and which samples are made in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from fmlab.data.base import FREQUENCIES, draw_labels
from fmlab.errors import UserError
from fmlab.fields import Guidance, PathField, Sampling
from fmlab.inference.trained import Trained
from fmlab.paths import GaussianPath
from fmlab.solvers import Grid, Solver


@dataclass(frozen=True)
class Cell(Sampling):
    """One way to sample a trained network, or the exact field of its training data.

    Attributes:
        guidance: The guidance scale w, or all of guidance.
        exact: Follow the exact field, not the network.
        ema_std: The width of the power-function average that is the network; None is the network as it was loaded.
    """

    guidance: float | Guidance = 1.0
    exact: bool = False
    ema_std: float | None = None

    def field(self, trained: Trained, labels: Tensor | None) -> PathField:
        """The field for a batch of labels."""
        make_field = trained.exact_field if self.exact else trained.field
        return make_field(labels, self.guidance)

    def check(self, trained: Trained) -> None:
        """Finds out before any sampling what does not go together.

        Raises:
            UserError: If the grid, the path or the guidance do not fit the network or each other.
        """
        classes = trained.count_classes(self.guidance)
        label = None if classes is None else torch.zeros(1, dtype=torch.int64, device=trained.device)
        field = self.field(trained, label)
        if self.path is not None and not isinstance(field.path, GaussianPath):
            name = type(field.path).__name__
            raise UserError(f"a change of schedule needs a model on a Gaussian path, here is {name}", key="path")
        self.grid(self.steps, self.path or field.path)


def make_cells(
    solvers: Sequence[Solver],
    grids: Sequence[Grid],
    paths: Sequence[GaussianPath | None],
    steps: Sequence[int],
    guidances: Sequence[float | Guidance],
    exact: bool = False,
    ema_stds: Sequence[float | None] = (None,),
) -> list[Cell]:
    """Every combination, network by network; with `exact` the same again for the exact field, behind the networks'."""
    networks = [(False, std) for std in ema_stds] + [(True, None)] * exact
    axes = product(networks, guidances, paths, grids, solvers, steps)
    return [Cell(solver, count, grid, path, how, *which) for which, how, path, grid, solver, count in axes]


@dataclass(frozen=True)
class Draws:
    """Which samples are made: one seed and one label each, the same for every cell.

    Attributes:
        count: How many.
        seed: The seed of the first; the others follow.
        labels: One label per sample, or None.
        rule: What gave the labels, in words; None without labels.
    """

    count: int
    seed: int
    labels: Tensor | None
    rule: str | None

    def seeds(self, places: Tensor) -> list[int]:
        """The seeds of the samples at these places, int64 (B,)."""
        return (self.seed + places).tolist()

    def labels_of(self, places: Tensor) -> Tensor | None:
        """Their labels."""
        return None if self.labels is None else self.labels[places]


def choose_draws(
    trained: Trained, count: int, seed: int, labels: Sequence[int] | None, num_classes: int | None = None
) -> Draws:
    """The samples to make.

    Args:
        trained: The network, and its data where labels are drawn from their frequencies.
        count: How many.
        seed: The seed of the first.
        labels: These in turn; None draws them from the frequencies of the training set, by a key of its own.
        num_classes: How many labels there are, where a classifier brings them; the network's own if left out.

    Raises:
        UserError: If a label does not exist, or labels are asked of a model without.
    """
    num_classes = num_classes or trained.num_classes
    if num_classes is None or labels is not None:
        chosen = trained.choose_labels(count, labels, num_classes)
        return Draws(count, seed, chosen, None if labels is None else f"{_spans(labels)} in turn")
    return Draws(count, seed, draw_labels(trained.data(), count, seed), FREQUENCIES)


def _spans(labels: Sequence[int]) -> str:
    """`0-9` for whole runs of labels, `1,4,7` otherwise."""
    if len(labels) > 2 and list(labels) == list(range(labels[0], labels[-1] + 1)):
        return f"{labels[0]}-{labels[-1]}"
    return ",".join(map(str, labels))
