"""Pictures of samples during validation."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from fmlab.data.contract import check_provides
from fmlab.data.pixels import to_uint8
from fmlab.errors import UserError
from fmlab.fields import Sampling
from fmlab.figures import image_grid, point_cloud, save_png
from fmlab.paths import GaussianPath
from fmlab.solvers import Grid, Heun, Solver, UniformGrid
from fmlab.training.generation import check_guidance, check_sampler, datamodule, draw_samples
from fmlab.training.generative_module import GenerativeModule


class SampleGrid(Callback):
    """Draws the same seeds and labels at every validation: one row per class, one picture per guidance scale.

    Pictures go to `samples/` in the run's folder and to the loggers. Vectors are drawn as points over the reference;
    where each sample has a source of its own, it stands left of the sample and the truth right of it.

    Args:
        guidance_scales: The scales to draw; the first is the main one. Data without labels know only scale 1.
        columns: Images per row; for data without labels also the number of rows.
        classes: At most this many classes are drawn, the first ones.
        points: How many points to draw of data that are vectors.
        solver: The integrator; Heun if left out.
        steps: Solver steps.
        grid: Where the steps lie; UniformGrid if left out.
        path: The Gaussian path to sample along; the model's own if left out.
        batch_size: Samples per solve.
        seed: The seed of the first sample; the others follow.
        enabled: Whether to draw.
    """

    def __init__(
        self,
        guidance_scales: list[float] | None = None,
        columns: int = 10,
        classes: int = 10,
        points: int = 2000,
        solver: Solver | None = None,
        steps: int = 10,
        grid: Grid | None = None,
        path: GaussianPath | None = None,
        batch_size: int = 128,
        seed: int = 0,
        enabled: bool = True,
    ) -> None:
        self.guidance_scales = guidance_scales or [1.0]
        self.columns, self.classes, self.points = columns, classes, points
        self.sampling = Sampling(solver or Heun(), steps, grid or UniformGrid(), path)
        self.batch_size, self.seed, self.enabled = batch_size, seed, enabled

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for scale in self.guidance_scales:
            check_guidance(scale, pl_module, "samples.guidance_scales")
        check_sampler(self.sampling, pl_module, "samples.")
        if len(datamodule(trainer).shape) == 1:
            check_provides(datamodule(trainer), ["reference_batches"], "samples")
        if self.columns < 1:
            raise UserError(f"a grid has at least 1 column, got {self.columns}", key="samples.columns")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        for scale in self.guidance_scales:
            name = f"step_{trainer.global_step:07d}" + (f"_w{scale:g}" if pl_module.num_classes is not None else "")
            picture = self.picture(trainer, pl_module, scale)
            save_png(picture, Path(trainer.default_root_dir) / "samples" / f"{name}.png")
            self._log(trainer, picture, f"samples/w{scale:g}" if pl_module.num_classes is not None else "samples")

    def picture(self, trainer: Trainer, pl_module: LightningModule, scale: float) -> np.ndarray:
        """The grid at one guidance scale, uint8 of shape (height, width, 3)."""
        data, classes = datamodule(trainer), cast(GenerativeModule, pl_module).num_classes
        points = len(data.shape) == 1
        labels = None
        if classes is not None:
            labels = torch.arange(min(classes, self.classes)).repeat_interleave(self.columns)
        n = len(labels) if labels is not None else self.columns**2
        triples = max(1, self.columns // 3)
        if hasattr(data, "pairs"):
            n = triples * self.columns
        if points:
            n, labels = self.points, (None if classes is None else torch.arange(self.points) % classes)
        seeds = range(self.seed, self.seed + n)
        batches = draw_samples(trainer, pl_module, self.sampling, seeds, labels, scale, self.batch_size)
        samples = torch.cat([batch.samples for batch in batches])
        if points:
            reference = next(iter(data.reference_batches(self.points)))
            return point_cloud(samples, reference)
        if hasattr(data, "pairs"):
            truth, source = data.pairs(seeds)
            rows = torch.stack([source, samples.cpu(), truth], 1).flatten(0, 1)
            return image_grid(to_uint8(rows), 3 * triples)
        return image_grid(to_uint8(samples), self.columns)

    def _log(self, trainer: Trainer, picture: np.ndarray, key: str) -> None:
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(key, [picture], step=trainer.global_step)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(key, picture, trainer.global_step, dataformats="HWC")
