"""Pictures of samples during validation."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from fmlab.data.contract import check_provides
from fmlab.data.pixels import to_uint8
from fmlab.errors import UserError
from fmlab.figures import image_grid, point_cloud, save_png
from fmlab.paths import GaussianPath
from fmlab.solvers import Grid, Heun, Solver
from fmlab.training.generation import SamplingCallback, check_guidance, check_sampler, datamodule
from fmlab.training.generative_module import GenerativeModule


class SampleGrid(SamplingCallback):
    """Draws the same seeds and labels at every validation: one row per class, one picture per guidance scale.

    Pictures go to `samples/` in the run's folder and to the loggers. Vectors are drawn as points over the reference;
    where each sample has a source of its own, it stands left of the sample and the truth right of it.

    Args:
        guidance_scales: The scales to draw; the first is the main one. Data without labels know only scale 1.
        columns: Images per row; for data without labels also the number of rows.
        classes: At most this many classes are drawn, the first ones.
        points: How many points to draw of data that are vectors.
        solver: The integrator; Heun if left out.
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
        super().__init__(solver or Heun(), steps, grid, path, batch_size, seed, enabled)
        self.guidance_scales = guidance_scales or [1.0]
        self.columns, self.classes, self.points = columns, classes, points

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for scale in self.guidance_scales:
            check_guidance(scale, pl_module, "samples.guidance_scales")
        check_sampler(self.sampling, cast(GenerativeModule, pl_module), "samples.")
        if len(datamodule(trainer).shape) == 1:
            check_provides(datamodule(trainer), ["reference_batches"], "samples")
        if self.columns < 1:
            raise UserError(f"a grid has at least 1 column, got {self.columns}", key="samples.columns")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        step, labelled = trainer.global_step, pl_module.num_classes is not None
        for scale in self.guidance_scales:
            picture = self.picture(trainer, cast(GenerativeModule, pl_module), scale)
            name = f"step_{step:07d}" + (f"_w{scale:g}" if labelled else "")
            save_png(picture, Path(trainer.default_root_dir) / "samples" / f"{name}.png")
            key = f"samples/w{scale:g}" if labelled else "samples"
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(key, [picture], step=step)
                elif isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(key, picture, step, dataformats="HWC")

    def picture(self, trainer: Trainer, module: GenerativeModule, scale: float) -> np.ndarray:
        """The grid at one guidance scale, uint8 of shape (height, width, 3)."""
        data, classes = datamodule(trainer), module.num_classes
        points, paired = len(data.shape) == 1, hasattr(data, "pairs")
        triples = max(1, self.columns // 3)
        count = self.points if points else (triples if paired else self.columns) * self.columns
        labels = None
        if classes is not None and points:
            labels = torch.arange(count) % classes
        elif classes is not None:
            labels = torch.arange(min(classes, self.classes)).repeat_interleave(self.columns)
            count = len(labels)
        seeds = range(self.seed, self.seed + count)
        samples = torch.cat([batch.samples for batch in self.draw_samples(trainer, seeds, labels, scale)])
        if points:
            return point_cloud(samples, next(iter(data.reference_batches(self.points))))
        if paired:
            truth, source = data.pairs(seeds)
            return image_grid(to_uint8(torch.stack([source, samples.cpu(), truth], 1).flatten(0, 1)), 3 * triples)
        return image_grid(to_uint8(samples), self.columns)
