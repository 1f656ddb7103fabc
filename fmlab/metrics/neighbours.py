"""Nearest training neighbours: how far samples are from what the model was trained on, against new real examples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from fmlab.errors import UserError
from fmlab.metrics.measurement import data_reference, measurement
from fmlab.metrics.metric import SampleMetric
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Facts
from fmlab.metrics.subset import keyed_rows
from fmlab.random import Purpose, fixed_generator
from fmlab.records.measurements import Record

FEWEST = 20  # held-out examples; the median of fewer says little
MOST = 2000  # held-out examples that are compared

_ENTRIES = 2**22  # numbers a block of rows may hold: 32 MB in float64
_SAMPLES = 1024  # samples that meet a block at a time
_RESAMPLES = 200
_FIXED = 20_261_125  # keys the bootstrap


def nearest_rows(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The root mean square difference an entry from each of x to the nearest of y, and which one that is.

    Blocks of x meet blocks of y in matrix products in float64, so memory does not grow with either, images of uint8
    are compared exactly, and a copy has the distance 0.

    Args:
        x: Examples (N, *event) of any real type.
        y: Examples (M, *event), M at least 1.

    Returns:
        Distances (N,), float64, and row numbers (N,), int64, on the CPU.
    """
    if not len(x):
        return torch.empty(0, dtype=torch.float64), torch.empty(0, dtype=torch.int64)
    blocks = [_nearest(part, y) for part in x.split(max(1, min(_SAMPLES, _ENTRIES // x[0].numel())))]
    return torch.cat([distances for distances, _ in blocks]), torch.cat([rows for _, rows in blocks])


def _nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    device = torch.device("cpu") if x.device.type == "mps" else x.device  # Apple's devices have no float64
    x, origin = x.flatten(1).to(device).double(), y[:1].flatten(1).to(device).double()
    away = x - origin  # squares are small where the sets are far from 0 and near each other
    best = x.new_full((len(x),), torch.inf)
    row = torch.zeros(len(x), dtype=torch.int64, device=device)
    size = max(1, min(4096, _ENTRIES // y[0].numel()))
    for first in range(0, len(y), size):
        block = y[first : first + size].flatten(1).to(device).double() - origin
        # |x - y|^2 less |x|^2, which is the same for every y.
        square, index = (block.square().sum(1) - 2 * away @ block.mT).min(1)
        nearer = square < best
        best, row = torch.where(nearer, square, best), torch.where(nearer, first + index, row)
    # The difference itself, because the product cancels where points nearly coincide.
    chosen = y[row.to(y.device)].flatten(1).to(device).double()
    return (x - chosen).square().mean(1).sqrt().cpu(), row.cpu()


@dataclass(frozen=True)
class Memorisation:
    """Samples against new real examples, by their distances from the training set; errors are from the bootstrap.

    Args:
        ratio: Median distance of the samples over that of the held-out examples: 0 for copies, about 1 for new draws
            of the same law; NaN where half of the held-out examples are in the training set themselves.
        ratio_error: Its standard error.
        share: The share of samples that are nearer than the first percentile of the held-out examples: 0.01 for new
            draws.
        share_error: Its standard error.
        distance: The median distance of the samples, a root mean square difference an entry.
        held_out: The same of the held-out examples.
    """

    ratio: float
    ratio_error: float
    share: float
    share_error: float
    distance: float
    held_out: float


def memorisation(samples: Tensor, held_out: Tensor) -> Memorisation:
    """Compares distances (N,) of samples with distances (H,) of held-out examples; the bootstrap's draws are fixed.

    Raises:
        UserError: If there are fewer than two of either.
    """
    if min(len(samples), len(held_out)) < 2:
        cause = f"{len(samples)} samples and {len(held_out)} held-out examples"
        raise UserError(cause, hint="a memorisation ratio needs at least 2 of each")
    samples, held_out = samples.double().cpu(), held_out.double().cpu()
    generator = fixed_generator(_FIXED, Purpose.ORDER)

    def again(rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (len(rows),), generator=generator)]

    repeats = torch.stack([_ratio_and_share(again(samples), again(held_out)) for _ in range(_RESAMPLES)])
    ratio, share = _ratio_and_share(samples, held_out).tolist()
    ratio_error, share_error = repeats.std(0).tolist()
    middles = (rows.quantile(0.5).item() for rows in (samples, held_out))
    return Memorisation(ratio, ratio_error, share, share_error, *middles)


def _ratio_and_share(samples: Tensor, held_out: Tensor) -> Tensor:
    below = samples < held_out.quantile(0.01)
    middle = held_out.quantile(0.5)
    ratio = samples.quantile(0.5) / middle if middle > 0 else middle.new_tensor(torch.nan)
    return torch.stack([ratio, below.double().mean()])


class NearestNeighbours(SampleMetric):
    """Whether samples are nearer to training examples than new real examples are.

    `neighbour_ratio` is about 1 for new draws of the same law and 0 for copies; `neighbour_share`, the share of samples
    nearer than the first percentile of held-out examples, is 0.01 for new draws. Distances are root mean square
    differences an entry: of uint8 images in grey levels of 255, of points or features in their own unit.

    Attributes:
        pairs: Once computed, of the samples of all ranks, nearest first: the distance from the nearest
            training example, its row, and the place (N, 3), float64 on the CPU.

    Args:
        training: What the model was trained on (M, *event): uint8 images, points or features.
        held_out: Real examples (H, *event) that it was not trained on.

    Raises:
        UserError: The examples are not of one shape.
    """

    facts = Facts(
        name="neighbours",
        title="the distance from the nearest training example",
        kind="either",
        inputs=("samples", "places"),
        outputs=("neighbour_ratio", "neighbour_share"),
        better=None,
        least=2,
        estimator="distance to the nearest training example: median over that of held-out examples, and the share "
        "below their first percentile, v1; spread: standard error by the bootstrap",
        spread="standard error by the bootstrap",
        against_reference=False,  # held-out examples have the ratio 1 and the share 0.01 by definition
    )

    nearest: list[Tensor]
    pairs: Tensor
    training_examples: Tensor
    held_out: Tensor

    def __init__(self, training: Tensor, held_out: Tensor) -> None:
        super().__init__()
        if training.ndim < 2 or len(training) < 1 or training.shape[1:] != held_out.shape[1:]:
            cause = f"training examples {tuple(training.shape)} and held-out ones {tuple(held_out.shape)}"
            raise UserError(cause, hint="both are (number, *event) of one shape")
        self.register_buffer("training_examples", training.detach(), persistent=False)
        self.register_buffer("held_out", nearest_rows(held_out, training)[0], persistent=False)
        self.add_state("nearest", [], dist_reduce_fx="cat")
        self.reset()

    @classmethod
    def build(cls, parts: MetricParts) -> NearestNeighbours:
        """The distances from the training split."""
        data = parts.data
        try:
            sets = neighbour_sets(data)
        except UserError as error:
            raise UserError(error.message, key="metrics", hint="leave neighbours out") from error
        # Points come flat to the metrics, whatever their event's shape.
        flat = (each.float().flatten(1) if data.kind == "points" else each for each in sets)
        return cls(*(each.to(parts.device) for each in flat))

    def reset(self) -> None:
        """Forgets all samples."""
        super().reset()
        # A rank without any sample still has a (0, 3) row: torchmetrics cannot gather it beside (B, 3) otherwise.
        self.nearest.append(self.held_out.new_zeros(0, 3))

    def update(self, samples: Tensor, places: Tensor | None = None) -> None:
        """Adds samples (B, *event), uint8 where the training examples are, with their places among all, int64 (B,).

        Without places they are numbered in the order in which they come here.
        """
        if (samples.dtype == torch.uint8) != (self.training_examples.dtype == torch.uint8):
            raise TypeError(f"{samples.dtype} samples against {self.training_examples.dtype} training examples")
        distances, rows = nearest_rows(samples.detach().to(self.training_examples.device), self.training_examples)
        if places is None:
            places = sum(map(len, self.nearest)) + torch.arange(len(rows))
        each = torch.stack([distances, rows.double(), places.cpu().double()], 1)
        self.nearest.append(each.to(self.held_out.device))

    def neighbours(self) -> tuple[Tensor, Tensor]:
        """Distances (N,), float64, and training rows (N,), int64, of this process's samples in their order."""
        nearest = dim_zero_cat(self.nearest)
        return nearest[:, 0], nearest[:, 1].long()

    def nearest_pairs(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the samples of all ranks those that lie nearest to training examples, once they are computed.

        Returns:
            Their places (n,), nearest first, their training examples (n, *event), and the distances (n,).
        """
        distances, rows, places = self.pairs[:count].T
        return places.long(), self.training_examples[rows.long().to(self.training_examples.device)].cpu(), distances

    def compute(self) -> dict[str, float]:
        """The ratio and the share with their spreads, over all ranks; what has no value is left out."""
        self.pairs = dim_zero_cat(self.nearest).cpu()
        # Sorted, so that the bootstrap does not depend on the batches and ranks that the samples came in.
        self.pairs = self.pairs[self.pairs[:, 0].argsort()]
        summary = memorisation(self.pairs[:, 0], self.held_out)
        names = ("neighbour_ratio", "neighbour_ratio_std", "neighbour_share", "neighbour_share_std")
        values = zip(names, (summary.ratio, summary.ratio_error, summary.share, summary.share_error))
        return {name: value for name, value in values if not math.isnan(value)}

    def measurement(self, parts: MetricParts) -> Record:
        """How the numbers are measured: against the training split and a choice of the held-out one."""
        split = f"train, and {len(self.held_out)} of validation"
        reference = {**data_reference(parts.data, len(self.training_examples)), "split": split}
        return measurement({self.facts.name: self.estimator()}, parts.num_samples, reference, None)


def neighbour_sets(data: Any) -> tuple[Tensor, Tensor]:
    """The training examples, with their mirror images where training saw those, and at most 2,000 held-out examples.

    Both are as the data module holds them, uint8 images or points; of pairs the images that they are pairs of.

    Raises:
        UserError: The training examples are not in memory, or fewer than 20 are held out.
    """
    data = getattr(data, "images", data)
    training, validation = data.training_examples(), data.split("validation")
    if len(validation) < FEWEST:
        raise UserError(f"{len(validation)} held-out examples are too few, at least {FEWEST} are needed")
    return training, validation.take(keyed_rows(len(validation), MOST))
