"""From seeds to samples: noise, the path's start, a solve, batch by batch. Samples of a field are made here only."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import PathField
from fmlab.fields.precision import compute_in, resolve_precision
from fmlab.fields.schedule_change import ScheduleChange
from fmlab.paths import GaussianPath
from fmlab.solvers import Grid, SeededNoise, Solver

FieldFactory = Callable[[Tensor | None], PathField]
"""`make_field(labels)`: the field for one batch of labels."""

Start = Callable[[Sequence[int], Sequence[int], torch.device | str], Tensor]
"""`start(seeds, shape, device)`: one draw of the source a seed, of shape (len(seeds), *shape)."""


def gaussian_start(seeds: Sequence[int], shape: Sequence[int], device: torch.device | str) -> Tensor:
    """Standard normal noise, one seed per sample."""
    return SeededNoise(seeds).initial(shape, device)


@dataclass(frozen=True)
class Sampling:
    """How a field is followed: the solver, its grid, the number of steps and the path.

    Attributes:
        solver: The integrator.
        steps: Solver steps.
        grid: Where the steps lie.
        path: The Gaussian path to sample along; the field's own if left out.

    Raises:
        UserError: If there is no step.
    """

    solver: Solver
    steps: int
    grid: Grid
    path: GaussianPath | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"a solve takes at least 1 step, got {self.steps}", key="steps")


@dataclass(frozen=True)
class Generated:
    """Samples, and what they cost.

    Attributes:
        samples: Of shape (B, *shape), in float32.
        nfe: Network forwards per sample.
        precision: What the network computed in: `float32`, `bf16-mixed`, ...; None where the caller chose it.
    """

    samples: Tensor
    nfe: int
    precision: str | None

    @property
    def finite(self) -> Tensor:
        """Whether each sample is finite in all of its entries, of shape (B,)."""
        return self.samples.flatten(1).isfinite().all(1)


@torch.no_grad()
def generate(
    make_field: FieldFactory,
    sampling: Sampling,
    seeds: Sequence[int],
    shape: Sequence[int],
    labels: Tensor | None = None,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    start: Start = gaussian_start,
    precision: str | None = "float32",
) -> Iterator[Generated]:
    """Batches of samples in the order of `seeds`, on `device`. One seed makes one sample, whatever else is in a batch.

    Only the network computes in a low precision: points, times and what the solver makes of them stay in float32.

    Args:
        make_field: Gives the field for a batch of labels.
        sampling: How the field is followed.
        seeds: One integer per sample.
        shape: The event shape.
        labels: One label per sample, or None.
        batch_size: Samples per solve.
        device: Where the field computes.
        start: What a solve starts from before the path scales it.
        precision: One of `Precision`; None leaves it to what surrounds the call, such as a trainer's autocast.

    Warns:
        If samples are not finite: rounded to pixels they would look like any others, and `Generated.finite` has them.

    Raises:
        UserError: If there is no such precision, or the solver or the grid does not fit the field's path.
    """
    precision = None if precision is None else resolve_precision(precision, device)
    for first in range(0, len(seeds), batch_size):
        chosen = seeds[first : first + batch_size]
        with nullcontext() if precision is None else compute_in(precision, device):
            field = make_field(None if labels is None else labels[first : first + batch_size].to(device))
            if sampling.path is not None:
                field = ScheduleChange(field, sampling.path)
            x = field.path.initial(start(chosen, shape, device))
            times = sampling.grid(sampling.steps, field.path)
            samples = sampling.solver.solve(field, x, times, noise=SeededNoise(chosen))
        batch = Generated(samples, field.nfe, precision)
        if (wrong := int((~batch.finite).sum())) > 0:
            warnings.warn(f"{wrong} of {len(chosen)} samples are not finite", stacklevel=2)
        yield batch


def collect(batches: Iterable[Generated]) -> Generated:
    """All batches as one, on the CPU; its `nfe` is the last one's, which an adaptive solver chose for that batch."""
    parts = [replace(batch, samples=batch.samples.cpu()) for batch in batches]
    return replace(parts[-1], samples=torch.cat([part.samples for part in parts]))
