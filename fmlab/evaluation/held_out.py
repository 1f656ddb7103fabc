"""An evaluation on held-out images in place of generated ones: bits per dimension under the flow of every cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmlab.data.base import fixed_permutation
from fmlab.errors import UserError
from fmlab.evaluation.bits_per_dim import HELD_OUT, NAME, LikelihoodScores, LikelihoodSolve, Repeats
from fmlab.evaluation.cells import Cell, Draws
from fmlab.evaluation.evaluation import Evaluation, Listener
from fmlab.evaluation.generation import Generation
from fmlab.evaluation.journal import Row
from fmlab.evaluation.keeping import Keeper
from fmlab.evaluation.processes import Processes
from fmlab.inference.trained import Trained


def held_out(trained: Trained, count: int, seed: int) -> Draws:
    """Images of the validation split, each with its true label if it has any: all, or a fixed choice of `count`.

    Args:
        trained: The network, with its data.
        count: How many at most.
        seed: Of the first image's dequantisations and probes; the others follow.
    """
    split = _split(trained)
    rows = held_out_rows(len(split), count)
    labelled = trained.num_classes is not None and split.labels is not None
    labels = split.labels[rows] if labelled else None
    return Draws(len(rows), seed, labels, f"true, of the {HELD_OUT} split" if labelled else None)


def held_out_rows(size: int, count: int) -> Tensor:
    """Which images of a split of that size: the same in every run, in the split's order."""
    return fixed_permutation(size)[:count].sort().values


class HeldOutEvaluation(Evaluation):
    """Bits per dimension of held-out images: an `Evaluation` whose cells are followed backwards, from data to noise.

    At guidance scale 1 it is conditional on the images' true labels, at 0 unconditional. A solve that is too coarse
    misses bits: a number counts once more steps leave it where it is.

    Args:
        trained: The network, with its data, which are images.
        draws: The images, by `held_out`.
        repeats: How often each one's likelihood is estimated.
        name: The evaluation's name.
        batch_size: Images a solve.
        processes: Who shares the work; this process alone if left out.
        average: As in `Evaluation`.
        save_seconds: As in `Evaluation`.

    Raises:
        UserError: If the data are not images.
    """

    def __init__(
        self,
        trained: Trained,
        draws: Draws,
        repeats: Repeats,
        name: str | None = None,
        batch_size: int = 250,
        processes: Processes | None = None,
        average: Callable[[float], Trained] | None = None,
        save_seconds: float | None = None,
    ) -> None:
        self.repeats = repeats
        super().__init__(
            trained, [NAME], draws, "auto", name, batch_size, processes, average=average, save_seconds=save_seconds
        )

    def run(self, cells: Sequence[Cell], keep: Path | None = None, listener: Listener | None = None) -> list[Row]:
        """The row of each cell; every process enters.

        Raises:
            UserError: If a cell has no likelihood, or samples are to be kept: there are none.
        """
        if keep is not None:
            raise UserError("bpd generates nothing that could be kept", key="keep", hint="leave it out")
        for cell in cells:
            if cell.exact:
                cause = "the exact field of a finite training set ends in its images and has no density"
                raise UserError(cause, key="exact", hint="leave it out")
            if cell.solver.stochastic:
                raise UserError(f"{cell.solver!r} adds noise, and a likelihood follows an ODE", key="solver")
        return super().run(cells, keep, listener)

    def _scores(self, features: str, reference: str | None) -> LikelihoodScores:
        return LikelihoodScores(self.data, self.repeats, self.processes)

    def _pass(self, cell: Cell) -> Generation:
        where = (self.processes, self.batch_size, self.save_seconds)
        return _Likelihoods(self.network(cell), self.draws, self.scores, *where)

    def _floor(self, known: dict[str, Row], told: Listener) -> None:
        """None: a likelihood is compared with nothing."""


@dataclass
class _Likelihoods(Generation):
    """The pass over held-out images."""

    def _batch(self, cell: Cell, start: int, stop: int, keep: Keeper | None) -> int:
        """Measures the images of a batch; returns the forwards of one solve."""
        places = torch.arange(start, stop)
        scores, split, labels = self.scores, _split(self.trained), self.draws.labels_of(places)
        assert isinstance(scores, LikelihoodScores)
        images = split.take(held_out_rows(len(split), self.draws.count)[start:stop])
        field = cell.field(self.trained, None if labels is None else labels.to(self.trained.device))
        field.nfe = 0
        solve = LikelihoodSolve(cell.solver, cell.steps, cell.grid, cell.path)
        seeds = self.draws.seeds(places)
        bits = solve.bits(field, images, seeds, scores.levels, scores.repeats, self.trained.device)
        scores.update(bits, labels, places)
        return field.nfe // (scores.repeats.dequantisations * scores.repeats.probes)


def _split(trained: Trained) -> Any:
    return trained.data().split(HELD_OUT)
