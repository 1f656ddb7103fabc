"""Bits per dimension of held-out images under the flow that a cell samples from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fmlab.data.dequantisation import GreyLevels
from fmlab.errors import UserError
from fmlab.evaluation.processes import Processes
from fmlab.evaluation.provenance import Record
from fmlab.fields import PathField, ScheduleChange
from fmlab.paths import GaussianPath
from fmlab.random import Purpose, keyed_generator
from fmlab.solvers import Grid, HutchinsonDivergence, Solver, log_likelihood, seeded_probe

NAME = "bpd"
HELD_OUT = "validation"


@dataclass(frozen=True)
class Repeats:
    """How often an image's likelihood is estimated: once for every probe of every dequantisation.

    Attributes:
        dequantisations: Draws within the cells of an image's grey levels, at least 1.
        probes: Probes of the divergence for each of them, at least 1; from 2 on their spread is known.
    """

    dequantisations: int = 2
    probes: int = 3

    def __post_init__(self) -> None:
        for key, number in (("dequantisations", self.dequantisations), ("probes", self.probes)):
            if number < 1:
                raise UserError(f"{number} {key}", key=key, hint="at least 1")

    def __str__(self) -> str:
        return f"{self.dequantisations} dequantisations an image, {self.probes} probes for each"


@dataclass(frozen=True)
class LikelihoodSolve:
    """How the ODE is followed from images back to noise.

    Attributes:
        solver: An ODE solver.
        steps: Solver steps.
        grid: Where the steps lie.
        path: The Gaussian path to follow the field along; its own if None.
    """

    solver: Solver
    steps: int
    grid: Grid
    path: GaussianPath | None = None

    def field(self, field: PathField) -> PathField:
        """The field on the path along which it is followed.

        Raises:
            UserError: If it does not start from Gaussian noise, whose density alone is known here.
        """
        if not isinstance(field.path, GaussianPath):
            name = type(field.path).__name__
            raise UserError(f"bits per dimension need a start from Gaussian noise, here is {name}", key="metrics")
        return field if self.path is None else ScheduleChange(field, self.path)

    def bits(
        self,
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
            field: The field for these images, bound to their labels if it has any; counts its forwards.
            images: uint8, of shape (B, *shape).
            seeds: One integer an image.
            levels: The grey levels that a pixel can take.
            repeats: How many of both.
            device: Where the field computes.

        Returns:
            Shape (B, dequantisations, probes), float64 on the CPU.
        """
        followed, shape = self.field(field), images.shape[1:]
        times = self.grid(self.steps, followed.path)
        found = torch.empty(len(images), repeats.dequantisations, repeats.probes, dtype=torch.float64)
        for draw in range(repeats.dequantisations):
            x = levels.dequantised(images, seeded_uniform(seeds, shape, draw)).to(device)
            for number in range(repeats.probes):
                probe = HutchinsonDivergence(seeded_probe(seeds, shape, draw, number).to(device))
                with torch.no_grad():
                    value = log_likelihood(followed, x, self.solver, times, divergence=probe)
                found[:, draw, number] = levels.bits_per_dimension(value.cpu().double(), images)
        return found


def seeded_uniform(seeds: Sequence[int], shape: Sequence[int], number: int) -> Tensor:
    """Uniform numbers in [0, 1), an event a seed: the same whatever else is in the batch."""
    generators = [keyed_generator(seed, Purpose.DEQUANTISATION, number) for seed in seeds]
    return torch.stack([torch.rand(*shape, generator=generator) for generator in generators])


class LikelihoodScores:
    """Sums of bits per dimension over images, which a `Generation` adds up batch by batch.

    Attributes:
        better: Empty: solves that are too coarse miss bits, so that the least of several solvers' is not the best.
        size: Images of the split.

    Args:
        data: The data module of the held-out images.
        repeats: How often each is estimated.
        processes: Who shares the images.
    """

    def __init__(self, data: Any, repeats: Repeats, processes: Processes) -> None:
        self.data, self.repeats, self.processes = data, repeats, processes
        self.levels = GreyLevels(getattr(data, "grey_levels", range(256)))
        self.better: dict[str, Literal["less", "more"]] = {}
        self.size = len(data.split(HELD_OUT))
        self.reset()

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """Adds the bits (B, dequantisations, probes) of a batch; labels and places make no difference."""
        means = samples.mean((1, 2))
        self.count += len(samples)
        self.sums += samples.sum(0)
        self.squares += means.square().sum().item()

    def compute(self) -> dict[str, float]:
        """`bpd`, and how far it would be another by chance, over all processes, each of which enters.

        `bpd_std` is the standard deviation between probes, of the mean over all images with one probe each,
        `bpd_dequantisation_std` that between dequantisations (with the mean over their probes), both where there are
        two or more; `bpd_images_std` is the standard error over the images.
        """
        shape = (self.repeats.dequantisations, self.repeats.probes)
        count, squares, *sums = self.processes.total(self.count, self.squares, *self.sums.flatten().tolist())
        means = torch.tensor(sums, dtype=torch.float64).view(shape) / count
        mean = means.mean().item()
        values = {NAME: mean}
        if shape[1] > 1:
            values[f"{NAME}_std"] = means.var(1).mean().sqrt().item()
        if shape[0] > 1:
            values[f"{NAME}_dequantisation_std"] = means.mean(1).std().item()
        if count > 1:
            values[f"{NAME}_images_std"] = math.sqrt(max(0.0, squares / count - mean**2) / (count - 1))
        return values

    def reset(self) -> None:
        """Forgets all images."""
        self.count, self.squares = 0, 0.0
        self.sums = torch.zeros(self.repeats.dequantisations, self.repeats.probes, dtype=torch.float64)

    def state(self) -> dict[str, Any]:
        """What this process has summed."""
        return {"count": self.count, "squares": self.squares, "sums": self.sums}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.count, self.squares, self.sums = state["count"], state["squares"], state["sums"].clone()

    def measurement(self, samples: int) -> Record:
        """How the values are measured, on so many held-out images."""
        split = self.data.split(HELD_OUT)
        reference = {"data": type(self.data).__name__, "split": HELD_OUT, "size": self.size}
        estimator = f"ODE likelihood, Hutchinson's divergence (Rademacher, one probe a solve), {self.repeats}, v1"
        return {
            "samples": samples,
            "reference": {**reference, "hash": split.content_hash},
            "features": None,
            "resize": None,
            "uint8": f"uniform dequantisation in the cells of {len(self.levels)} grey levels",
            "estimators": {NAME: estimator},
        }

    def floor(self, count: int, batch_size: int, processes: Processes) -> dict[str, float]:
        """Nothing: a likelihood is compared with nothing."""
        return {}

    def remarks(self) -> list[str]:
        """Nothing."""
        return []
