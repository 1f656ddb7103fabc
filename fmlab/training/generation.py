"""Sampling from the module in training: its field, its device, its precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields import Generated, Sampling, ZeroField, generate
from fmlab.paths import GaussianPath
from fmlab.solvers import Grid, Solver, UniformGrid
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.interruption import stop_if_requested


def datamodule(trainer: Trainer) -> Any:
    """The data module in use, which Lightning attaches without declaring it."""
    return trainer.datamodule  # type: ignore[attr-defined]


class SamplingCallback(Callback):
    """Samples from the module in validation.

    Args:
        solver: The integrator.
        steps: Solver steps.
        grid: Where the steps lie; UniformGrid if left out.
        path: The Gaussian path to sample along; the model's own if left out.
        batch_size: Samples per solve.
        seed: The seed of the first sample; the others follow.
        enabled: Whether to do so.
    """

    def __init__(
        self,
        solver: Solver,
        steps: int,
        grid: Grid | None,
        path: GaussianPath | None,
        batch_size: int,
        seed: int,
        enabled: bool,
    ) -> None:
        self.sampling = Sampling(solver, steps, grid or UniformGrid(), path)
        self.batch_size, self.seed, self.enabled = batch_size, seed, enabled

    def draw_samples(
        self, trainer: Trainer, seeds: Sequence[int], labels: Tensor | None, guidance_scale: float
    ) -> Iterator[Generated]:
        """Batches of samples in float32 on the module's device, under the trainer's precision."""
        module = cast(GenerativeModule, trainer.lightning_module)
        with trainer.precision_plugin.forward_context():
            batches = generate(
                lambda condition: module.field(condition, guidance_scale),
                self.sampling,
                seeds,
                tuple(datamodule(trainer).shape),
                labels,
                batch_size=self.batch_size,
                device=module.device,
                start=module.source.start,
                precision=None,  # the trainer's, which surrounds it
            )
            for batch in batches:
                yield batch
                stop_if_requested(trainer)


def check_guidance(scale: float, pl_module: LightningModule, key: str) -> None:
    """Refuses a model that generates nothing, or that cannot be guided so, before any training.

    Args:
        scale: The guidance scale.
        pl_module: The model.
        key: The key of the scale; its first part is the section to leave out.
    """
    if not isinstance(pl_module, GenerativeModule):
        section = key.partition(".")[0]
        cause = f"{type(pl_module).__name__} generates nothing"
        raise UserError(cause, key=section, hint=f"leave {section} out, or set {section}.enabled to false")
    if scale != 1 and pl_module.num_classes is None:
        cause = f"guidance scale {scale:g} asked of a model without labels"
        raise UserError(cause, key=key, hint="use scale 1, or data with labels")
    if scale != 1 and pl_module.label_dropout == 0:
        cause = f"guidance scale {scale:g} asked of a model trained without label dropout"
        raise UserError(cause, key=key, hint="set model.label_dropout to 0.1, or use scale 1")


def check_sampler(sampling: Sampling, module: GenerativeModule, prefix: str) -> None:
    """Refuses, before any training, what needs a Gaussian path if the model's own is not: path, grid, solver.

    Args:
        sampling: How samples will be made.
        module: The model.
        prefix: What stands before `path`, `grid` and `solver` in the keys at fault: `fid.`, or nothing.
    """
    path = module.path
    if isinstance(path, GaussianPath):
        return
    if sampling.path is not None:
        cause = f"a change of schedule needs a model on a Gaussian path, here is {type(path).__name__}"
        raise UserError(cause, key=f"{prefix}path", hint=f"leave {prefix}path out")
    part, other = "grid", "UniformGrid"
    try:
        times = sampling.grid(sampling.steps, path)
        part, other = "solver", "Heun, or another that follows any flow"
        sampling.solver.solve(ZeroField(path), torch.zeros(1, 1), times)
    except UserError as error:
        raise UserError(error.message, key=f"{prefix}{part}", hint=f"use {other}") from error
