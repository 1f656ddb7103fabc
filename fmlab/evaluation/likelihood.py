"""Bits per dimension of held-out images under the flow that a cell samples from.

A cell is followed backwards, from data to noise. At guidance scale 1 it is conditional on the images' true labels, at 0
unconditional. A solve that is too coarse misses bits: a number counts once more steps leave it where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fmlab.data.base import fixed_permutation
from fmlab.data.dequantisation import GreyLevels
from fmlab.errors import UserError
from fmlab.evaluation.cells import Cell, Draws
from fmlab.fields import PathField, Sampling, ScheduleChange, compute_in
from fmlab.inference.trained import Trained
from fmlab.metrics.bits_per_dimension import HELD_OUT
from fmlab.metrics.parts import Repeats
from fmlab.paths import GaussianPath
from fmlab.random import Purpose, keyed_generator
from fmlab.solvers import HutchinsonDivergence, log_likelihood, seeded_probe


def image_bits(
    sampling: Sampling,
    field: PathField,
    images: Tensor,
    seeds: Sequence[int],
    levels: GreyLevels,
    repeats: Repeats,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Bits per dimension of every image by every dequantisation and probe.

    Dequantisation and probe are keyed by (seed of the image, their number): they do not depend on the batch.

    Args:
        sampling: How the ODE is followed from images back to noise.
        field: The field for these images, bound to their labels if it has any; counts its forwards.
        images: uint8, of shape (B, *shape).
        seeds: One integer per image.
        levels: The grey levels that a pixel can take.
        repeats: How many of both.
        device: Where the field computes.

    Returns:
        Shape (B, dequantisations, probes), float64 on the CPU.

    Raises:
        UserError: If the field does not start from Gaussian noise, whose density alone is known here.
    """
    if not isinstance(field.path, GaussianPath):
        name = type(field.path).__name__
        raise UserError(f"bits per dimension need a start from Gaussian noise, here is {name}", key="metrics")
    followed = field if sampling.path is None else ScheduleChange(field, sampling.path)
    shape, times = images.shape[1:], sampling.grid(sampling.steps, followed.path)
    bits = torch.empty(len(images), repeats.dequantisations, repeats.probes, dtype=torch.float64)
    for draw in range(repeats.dequantisations):
        x = levels.dequantised(images, seeded_uniform(seeds, shape, draw)).to(device)
        for number in range(repeats.probes):
            probe = HutchinsonDivergence(seeded_probe(seeds, shape, draw, number).to(device))
            with torch.no_grad():
                value = log_likelihood(followed, x, sampling.solver, times, divergence=probe)
            bits[:, draw, number] = levels.bits_per_dimension(value.cpu().double(), images)
    return bits


def seeded_uniform(seeds: Sequence[int], shape: Sequence[int], number: int) -> Tensor:
    """Uniform numbers in [0, 1), one event per seed: the same whatever else is in the batch."""
    generators = [keyed_generator(Purpose.DEQUANTISATION, seed, number) for seed in seeds]
    return torch.stack([torch.rand(*shape, generator=generator) for generator in generators])


def held_out_rows(size: int, count: int) -> Tensor:
    """Which images of a split of that size: the same in every run, in the split's order."""
    return fixed_permutation(size)[:count].sort().values


class HeldOutImages:
    """Bits per dimension of images of the validation split: all of them, or a fixed choice; each with its true label.

    Args:
        trained: The network, with its data.
        count: How many images at most.
        seed: Of the first image's dequantisations and probes; the others follow.
        repeats: How often each one's likelihood is estimated.
        precision: Of the network's arithmetic.
    """

    def __init__(self, trained: Trained, count: int, seed: int, repeats: Repeats, precision: str) -> None:
        data = trained.data()
        self.split, self.repeats, self.precision = data.split(HELD_OUT), repeats, precision
        self.levels = GreyLevels(getattr(data, "grey_levels", range(256)))
        self.rows = held_out_rows(len(self.split), count)
        labelled = trained.num_classes is not None and self.split.labels is not None
        labels = self.split.labels[self.rows] if labelled else None
        self.draws = Draws(len(self.rows), seed, labels, f"true, of the {HELD_OUT} split" if labelled else None)

    def check(self, cells: Sequence[Cell], keep: Path | None) -> None:
        """Refuses cells without a likelihood.

        Raises:
            UserError: At the first such cell, or if samples are to be kept: there are none.
        """
        if keep is not None:
            raise UserError("bpd generates nothing that could be kept", key="keep", hint="leave it out")
        for cell in cells:
            if cell.exact:
                cause = "the exact field of a finite training set ends in its images and has no density"
                raise UserError(cause, key="exact", hint="leave it out")
            if cell.solver.stochastic:
                raise UserError(f"{cell.solver!r} adds noise, and a likelihood follows an ODE", key="solver")

    def produce(self, cell: Cell, trained: Trained, places: Tensor) -> tuple[Tensor, int, Tensor | None]:
        """The bits (B, dequantisations, probes) of the images at these places, and the forwards of one solve."""
        labels = self.draws.labels_of(places)
        field = cell.field(trained, None if labels is None else labels.to(trained.device))
        field.nfe = 0
        images, seeds = self.split.take(self.rows[places]), self.draws.seeds(places)
        with compute_in(self.precision, trained.device):
            bits = image_bits(cell, field, images, seeds, self.levels, self.repeats, trained.device)
        return bits, field.nfe // (self.repeats.dequantisations * self.repeats.probes), None
