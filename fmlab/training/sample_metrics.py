"""Distances between generated samples and the reference, in validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from fmlab.data import DataModule
from fmlab.data.base import FREQUENCIES, draw_labels
from fmlab.data.contract import check_provides
from fmlab.data.pixels import to_uint8
from fmlab.errors import UserError
from fmlab.metrics.cache import cache_folder
from fmlab.metrics.features import choose_features
from fmlab.metrics.measurement import setting
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import facts, metric_key, usual_metrics
from fmlab.paths import GaussianPath
from fmlab.records.atomic import atomic_write_json, make_folder
from fmlab.solvers import Euler, Grid, Solver
from fmlab.training.averaged_weights import AveragedWeights
from fmlab.training.generation import SamplingCallback, check_guidance, check_sampler, datamodule
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.interruption import stop_if_requested

_NEEDS = ("kind", "reference_batches", "reference_hash")
"""What the metrics need of a data module; of images also their classes, with which features are chosen."""
_NEEDS_OF_IMAGES = ("num_classes", "class_names")


class SampleMetrics(SamplingCallback):
    """Fréchet and kernel distance for images, 2-Wasserstein distance and MMD for vectors, with the averaged weights.

    Generation and features are shared out over the processes; the statistics add up exactly. The seeds, and the labels
    (drawn from the training set's frequencies), are the same at every validation and on any number of processes.

    Args:
        features: Which network sees the images; the metric is named after it. `domain` is a small classifier of the
            data set, `inception` the network of the papers, `random` needs nothing; `auto` is `domain` for labelled
            images and `random` for others.
        num_samples: Images or points to generate.
        guidance_scale: The guidance scale; data without labels know only 1.
        solver: The integrator; Euler if left out.
    """

    def __init__(
        self,
        features: Literal["auto", "inception", "domain", "random"] = "auto",
        num_samples: int = 1000,
        guidance_scale: float = 1.0,
        solver: Solver | None = None,
        steps: int = 20,
        grid: Grid | None = None,
        path: GaussianPath | None = None,
        batch_size: int = 250,
        seed: int = 1_000_000,
        enabled: bool = True,
    ) -> None:
        if num_samples < 2:
            raise UserError(f"a distance needs at least 2 samples, got {num_samples}", key="fid.num_samples")
        super().__init__(solver or Euler(), steps, grid, path, batch_size, seed, enabled)
        self.features, self.num_samples, self.guidance_scale = features, num_samples, guidance_scale
        self.metrics: MetricSet | None = None

    def logged_metrics(self, data: DataModule) -> set[str]:
        """The names of the metrics that it logs with these data."""
        images = data.kind == "images"
        features = choose_features(self.features, getattr(data, "images", data)) if images else None
        outputs = [output for name in usual_metrics(data.kind) for output in facts(name).outputs]
        return {metric_key(output, features) for output in outputs}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_guidance(self.guidance_scale, pl_module, "fid.guidance_scale")
        data = datamodule(trainer)
        needs = [*_NEEDS, *(_NEEDS_OF_IMAGES if getattr(data, "kind", "images") == "images" else ())]
        check_provides(data, [*needs, *([] if pl_module.num_classes is None else ["label_frequencies"])], "fid")
        check_sampler(self.sampling, cast(GenerativeModule, pl_module), "fid.")

    def prepare(self, trainer: Trainer) -> MetricSet:
        """Builds the feature network, the reference statistics and the metrics, once; every rank enters."""
        if self.metrics is None:
            data, count = datamodule(trainer), self.num_samples
            device = trainer.lightning_module.device
            folder = cache_folder()
            parts = MetricParts(data, count, folder, self.features, device=device, spread=False, max_points=count)
            try:
                self.metrics = MetricSet(usual_metrics(data.kind), parts)
            except UserError as error:
                key = "fid.num_samples" if error.key == "num_samples" else error.key
                raise UserError(error.message, key=key, hint=error.hint) from error
            if trainer.is_global_zero:
                self._write_measurement(trainer, self.metrics)
        return self.metrics

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(trainer)  # before any training: missing weights are found now, not hours later

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(trainer)

    def labels(self, data: Any) -> Tensor:
        """One label per sample, drawn from the training set's frequencies."""
        return draw_labels(data, self.num_samples, self.seed)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        metrics, data = self.prepare(trainer), datamodule(trainer)
        mine = torch.arange(trainer.global_rank, self.num_samples, trainer.world_size)
        labels = None if pl_module.num_classes is None else self.labels(data)[mine]
        images, start = data.kind == "images", 0
        for generated in self.draw_samples(trainer, (self.seed + mine).tolist(), labels, self.guidance_scale):
            samples = to_uint8(generated.samples) if images else generated.samples.flatten(1)
            batch = slice(start, start + len(samples))
            labels_of_batch = None if labels is None else labels[batch]
            metrics.update(samples, labels_of_batch, mine[batch], generated.finite)
            start += len(samples)
        stop_if_requested(trainer, before_meeting=True)
        values = metrics.compute("val")  # adds up over the ranks
        metrics.reset()
        pl_module.log_dict(values, prog_bar=True)

    def setting(self, trainer: Trainer) -> dict[str, Any]:
        """How the samples are made: settings may differ within a comparison, as columns of it."""
        module = cast(GenerativeModule, trainer.lightning_module)
        decays = [each.decays[0] for each in trainer.callbacks if isinstance(each, AveragedWeights)]  # type: ignore[attr-defined]
        return setting(
            self.sampling,
            module.path,
            self.guidance_scale,
            seeds=(self.seed, self.seed + self.num_samples - 1),
            labels=None if module.num_classes is None else FREQUENCIES,
            weights=f"averaged, decay {decays[0]}" if decays else "raw",
            precision=str(trainer.precision),
            batch_size=self.batch_size,
            data=datamodule(trainer),
        )

    def _write_measurement(self, trainer: Trainer, metrics: MetricSet) -> None:
        record = {"measurement": metrics.measurement(), "setting": self.setting(trainer)}
        file = Path(trainer.default_root_dir) / "measurement.json"
        make_folder(file.parent)
        atomic_write_json(file, record)
        for logger in trainer.loggers:
            if hasattr(logger, "log_measurement"):
                logger.log_measurement(record)
