"""Nearest training neighbours: how far samples are from what the model was trained on, against new real examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fmlab.errors import UserError
from fmlab.random import Purpose, keyed_generator

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
    found = [_nearest(part, y) for part in x.split(max(1, min(_SAMPLES, _ENTRIES // x[0].numel())))] if len(x) else []
    rows = torch.cat([row for _, row in found]) if found else torch.empty(0, dtype=torch.int64)
    distances = torch.cat([distance for distance, _ in found]) if found else torch.empty(0, dtype=torch.float64)
    return distances, rows


def _nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    where = torch.device("cpu") if x.device.type == "mps" else x.device  # Apple's devices have no float64
    x, origin = x.flatten(1).to(where).double(), y[:1].flatten(1).to(where).double()
    away = x - origin  # squares are small where the sets are far from 0 and near each other
    best = x.new_full((len(x),), torch.inf)
    row = torch.zeros(len(x), dtype=torch.int64, device=where)
    for first, block in _blocks(y, where):
        block = block - origin
        # |x - y|^2 less |x|^2, which is the same for every y.
        square, index = (block.square().sum(1) - 2 * away @ block.mT).min(1)
        nearer = square < best
        best, row = torch.where(nearer, square, best), torch.where(nearer, first + index, row)
    # The difference itself, because the product cancels where points nearly coincide.
    chosen = y[row.to(y.device)].flatten(1).to(where).double()
    return (x - chosen).square().mean(1).sqrt().cpu(), row.cpu()


def _blocks(y: Tensor, where: torch.device) -> Iterator[tuple[int, Tensor]]:
    size = max(1, min(4096, _ENTRIES // y[0].numel()))
    for first in range(0, len(y), size):
        yield first, y[first : first + size].flatten(1).to(where).double()


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
    generator = keyed_generator(_FIXED, Purpose.ORDER)

    def again(rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (len(rows),), generator=generator)]

    repeats = torch.stack([_ratio_and_share(again(samples), again(held_out)) for _ in range(_RESAMPLES)])
    ratio, share = _ratio_and_share(samples, held_out).tolist()
    errors = repeats.std(0).tolist()
    return Memorisation(ratio, errors[0], share, errors[1], _median(samples).item(), _median(held_out).item())


def _ratio_and_share(samples: Tensor, held_out: Tensor) -> Tensor:
    below = samples < held_out.quantile(0.01)
    middle = _median(held_out)
    ratio = _median(samples) / middle if middle > 0 else middle.new_tensor(torch.nan)
    return torch.stack([ratio, below.double().mean()])


def _median(rows: Tensor) -> Tensor:
    return rows.quantile(0.5)


class NearestNeighbours(Metric):
    """Distances of the samples it is given from their nearest training examples, and the memorisation ratio.

    Distances are root mean square differences an entry: of uint8 images in grey levels of 255, of points or features
    in their own unit.

    Attributes:
        pairs: Once computed, of the samples of all ranks, nearest first: the distance from the nearest
            training example, its row, and the place (N, 3), float64 on the CPU.

    Args:
        training: What the model was trained on (M, *event): uint8 images, points or features.
        held_out: Real examples (H, *event) that it was not trained on.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    found: list[Tensor]
    pairs: Tensor
    known: Tensor
    held_out: Tensor

    def __init__(self, training: Tensor, held_out: Tensor) -> None:
        super().__init__()
        if training.ndim < 2 or len(training) < 1 or training.shape[1:] != held_out.shape[1:]:
            cause = f"training examples {tuple(training.shape)} and held-out ones {tuple(held_out.shape)}"
            raise UserError(cause, hint="both are (number, *event) of one shape")
        self.register_buffer("known", training.detach(), persistent=False)
        self.register_buffer("held_out", nearest_rows(held_out, training)[0], persistent=False)
        self.add_state("found", [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forgets all samples."""
        super().reset()
        # A rank without any sample still has a (0, 3) row: torchmetrics cannot gather it beside (B, 3) otherwise.
        self.found.append(self.held_out.new_zeros(0, 3))

    def update(self, samples: Tensor, places: Tensor | None = None) -> None:
        """Adds samples (B, *event), of the training examples' kind: uint8 with uint8.

        Args:
            samples: The samples.
            places: Their places among all samples, int64 (B,); in the order in which they come here if left out.
        """
        if (samples.dtype == torch.uint8) != (self.known.dtype == torch.uint8):
            raise TypeError(f"{samples.dtype} samples against {self.known.dtype} training examples")
        distances, rows = nearest_rows(samples.detach().to(self.known.device), self.known)
        if places is None:
            places = sum(map(len, self.found)) + torch.arange(len(rows))
        self.found.append(torch.stack([distances, rows.double(), places.cpu().double()], 1).to(self.held_out.device))

    def neighbours(self) -> tuple[Tensor, Tensor]:
        """Distances (N,), float64, and training rows (N,), int64, of this process's samples in their order."""
        found = dim_zero_cat(self.found)
        return found[:, 0], found[:, 1].long()

    def compute(self) -> dict[str, float]:
        """The entries of `Memorisation`, over the samples of all ranks.

        Raises:
            UserError: There are fewer than two samples, or held-out examples.
        """
        self.pairs = dim_zero_cat(self.found).cpu()
        self.pairs = self.pairs[self.pairs[:, 0].argsort()]  # so that the bootstrap does not see batches and ranks
        return asdict(memorisation(self.pairs[:, 0], self.held_out))
