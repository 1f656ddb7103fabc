"""Sampling from the module in training: its field, its device, its precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields import Generated, Sampling, ZeroField, generate
from fmlab.paths import GaussianPath
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.interruption import stop_if_requested


def check_generates(pl_module: LightningModule, key: str) -> GenerativeModule:
    """The module as one that generates; refuses others before any training."""
    if not isinstance(pl_module, GenerativeModule):
        section = key.partition(".")[0]
        cause = f"{type(pl_module).__name__} generates nothing"
        raise UserError(cause, key=section, hint=f"leave {section} out, or set {section}.enabled to false")
    return pl_module


def check_guidance(scale: float, pl_module: LightningModule, key: str) -> None:
    """Refuses guidance of a model without labels before any training."""
    check_generates(pl_module, key)
    if pl_module.num_classes is None and scale != 1:
        raise UserError(
            f"guidance scale {scale:g} asked of a model without labels",
            key=key,
            hint="use scale 1, or data with labels",
        )
    if pl_module.num_classes is not None and scale != 1 and pl_module.label_dropout == 0:
        raise UserError(
            f"guidance scale {scale:g} asked of a model trained without label dropout",
            key=key,
            hint="set model.label_dropout to 0.1, or use scale 1",
        )


def check_sampler(sampling: Sampling, pl_module: LightningModule, prefix: str) -> None:
    """Refuses, before any training, what needs a Gaussian path if the model's own is not: path, grid, solver.

    Args:
        sampling: How samples will be made.
        pl_module: The model.
        prefix: What stands before `path`, `grid` and `solver` in the keys at fault: `fid.`, or nothing.
    """
    path = check_generates(pl_module, f"{prefix}path").path
    if isinstance(path, GaussianPath):
        return
    if sampling.path is not None:
        raise UserError(
            f"a change of schedule needs a model on a Gaussian path, here is {type(path).__name__}",
            key=f"{prefix}path",
            hint=f"leave {prefix}path out",
        )
    part, other = "grid", "UniformGrid"
    try:
        times = sampling.grid(sampling.steps, path)
        part, other = "solver", "Heun, or another that follows any flow"
        sampling.solver.solve(ZeroField(path), torch.zeros(1, 1), times)
    except UserError as error:
        raise UserError(error.message, key=f"{prefix}{part}", hint=f"use {other}") from error


def datamodule(trainer: Trainer) -> Any:
    """The data module in use, which Lightning attaches without declaring it."""
    return trainer.datamodule  # type: ignore[attr-defined]


def draw_samples(
    trainer: Trainer,
    pl_module: LightningModule,
    sampling: Sampling,
    seeds: Sequence[int],
    labels: Tensor | None,
    guidance_scale: float,
    batch_size: int,
) -> Iterator[Generated]:
    """Batches of samples in float32 on the module's device, under the trainer's precision."""
    module = cast(GenerativeModule, pl_module)
    with trainer.precision_plugin.forward_context():
        batches = generate(
            lambda condition: module.field(condition, guidance_scale),
            sampling,
            seeds,
            tuple(datamodule(trainer).shape),
            labels,
            batch_size=batch_size,
            device=pl_module.device,
            start=module.source.start,
            precision=None,  # the trainer's, which surrounds it
        )
        for batch in batches:
            yield batch
            stop_if_requested(trainer)
