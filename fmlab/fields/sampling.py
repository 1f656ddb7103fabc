"""From seeds to samples: noise, the path's start, a solve, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import PathField
from fmlab.fields.schedule_change import ScheduleChange
from fmlab.paths import GaussianPath
from fmlab.solvers import Grid, SeededNoise, Solver

FieldFactory = Callable[[Tensor | None], PathField]
"""`make_field(labels)`: the field for one batch of labels."""

Start = Callable[[Sequence[int], Sequence[int], torch.device | str], Tensor]
"""`start(seeds, shape, device)`: one draw of the source a seed, of shape (len(seeds), *shape)."""


def gaussian_start(seeds: Sequence[int], shape: Sequence[int], device: torch.device | str) -> Tensor:
    """Standard normal noise, one seed a sample."""
    return SeededNoise(seeds).initial(shape, device)


@dataclass
class Sampling:
    """How samples are made: the solver, its grid, the number of steps and the path.

    One seed makes one sample, whatever else is in the batch.

    Attributes:
        solver: The integrator.
        steps: Solver steps.
        grid: Where the steps lie.
        path: The Gaussian path to sample along; the field's own if left out.
        nfe: Network forwards a sample, measured in the last solve.

    Raises:
        UserError: If there is no step.
    """

    solver: Solver
    steps: int
    grid: Grid
    path: GaussianPath | None = None
    nfe: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"a solve takes at least 1 step, got {self.steps}", key="steps")

    @torch.no_grad()
    def batches(
        self,
        make_field: FieldFactory,
        seeds: Sequence[int],
        shape: Sequence[int],
        labels: Tensor | None = None,
        *,
        batch_size: int = 256,
        device: torch.device | str = "cpu",
        start: Start = gaussian_start,
    ) -> Iterator[Tensor]:
        """Samples of shape (<= batch_size, *shape) in the order of `seeds`, on `device`.

        Args:
            make_field: Gives the field for a batch of labels.
            seeds: One integer a sample.
            shape: The event shape.
            labels: One label a sample, or None.
            batch_size: Samples a solve.
            device: Where the field computes.
            start: What a solve starts from before the path scales it.
        """
        for first in range(0, len(seeds), batch_size):
            chosen = seeds[first : first + batch_size]
            field = make_field(None if labels is None else labels[first : first + batch_size].to(device))
            if self.path is not None:
                field = ScheduleChange(field, self.path)
            x = field.path.initial(start(chosen, shape, device))
            yield self.solver.solve(field, x, self.grid(self.steps, field.path), noise=SeededNoise(chosen))
            self.nfe = field.nfe
