"""Distances between generated samples and the reference, in validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics import Metric

from fmlab.data import DataModule
from fmlab.data.pixels import to_uint8
from fmlab.errors import UserError
from fmlab.evaluation import METRICS, data_reference, measurement, setting
from fmlab.evaluation.cells import FREQUENCIES, frequent_labels
from fmlab.fields import Sampling
from fmlab.metrics import (
    FrechetDistance,
    KernelDistance,
    MaximumMeanDiscrepancy,
    Wasserstein2,
    cache_folder,
    feature_network,
    metric_key,
    reference_points,
    reference_statistics,
)
from fmlab.metrics.features import choose_features
from fmlab.paths import GaussianPath
from fmlab.solvers import Euler, Grid, Solver, UniformGrid
from fmlab.training.averaged_weights import AveragedWeights
from fmlab.training.generation import check_guidance, check_sampler, datamodule, draw_samples
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.interruption import stop_before_meeting


class SampleMetrics(Callback):
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
        steps: Solver steps.
        grid: Where the steps lie; UniformGrid if left out.
        path: The Gaussian path to sample along; the model's own if left out.
        batch_size: Samples a solve.
        seed: The seed of the first sample; the others follow.
        enabled: Whether to measure.
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
        self.features, self.num_samples, self.guidance_scale = features, num_samples, guidance_scale
        self.sampling = Sampling(solver or Euler(), steps, grid or UniformGrid(), path)
        self.batch_size, self.seed, self.enabled = batch_size, seed, enabled
        self.network: nn.Module | None = None
        self.metrics: dict[str, Metric] = {}
        self.reference_size: int | None = None

    def logged_metrics(self, data: DataModule) -> set[str]:
        """The names of the metrics that it logs with these data."""
        if data.kind == "points":
            return {metric_key("w2"), metric_key("mmd")}
        features = choose_features(self.features, getattr(data, "images", data))
        return {metric_key("fid", features), metric_key("kid", features)}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_guidance(self.guidance_scale, pl_module, "fid.guidance_scale")
        check_sampler(self.sampling, pl_module, "fid.")

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Builds the feature network, the reference statistics and the metrics, once; every rank enters."""
        data = datamodule(trainer)
        device = torch.device("cpu") if pl_module.device.type == "mps" else pl_module.device  # float64 states
        if data.kind == "points":
            points = reference_points(data, self.num_samples)
            if len(points) < self.num_samples:
                raise UserError(
                    f"{self.num_samples} samples against {len(points)} reference points",
                    key="fid.num_samples",
                    hint=f"the exact 2-Wasserstein distance needs equal numbers: at most {len(points)}",
                )
            self.reference_size = len(points)
            metrics: dict[str, Metric] = {"val/w2": Wasserstein2(points), "val/mmd": MaximumMeanDiscrepancy(points)}
        else:
            images = getattr(data, "images", data)  # pairs are judged by what they are pairs of
            self.network = feature_network(self.features, images, cache_folder()).to(device)
            reference = reference_statistics(data, self.network, cache_folder())
            self.reference_size = reference.n
            metrics = {
                metric_key("fid", self.network.name): FrechetDistance(reference),
                metric_key("kid", self.network.name): KernelDistance(reference.features),
            }
        self.metrics = {name: metric.to(device) for name, metric in metrics.items()}
        if trainer.is_global_zero:
            self._write_measurement(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(trainer, pl_module)  # before any training: missing weights are found now, not hours later

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.metrics:
            self.prepare(trainer, pl_module)

    def labels(self, data: Any) -> Tensor:
        """One label a sample, drawn from the training set's frequencies."""
        return frequent_labels(data, self.num_samples, self.seed)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        mine = torch.arange(trainer.global_rank, self.num_samples, trainer.world_size)
        labels = None if pl_module.num_classes is None else self.labels(datamodule(trainer))[mine]
        seeds = (self.seed + mine).tolist()
        batches = draw_samples(trainer, pl_module, self.sampling, seeds, labels, self.guidance_scale, self.batch_size)
        for samples in batches:
            features = samples if self.network is None else self.network(to_uint8(samples))
            for metric in self.metrics.values():
                metric.update(features)
        stop_before_meeting(trainer)
        values = {name: metric.compute() for name, metric in self.metrics.items()}  # adds up over the ranks
        for metric in self.metrics.values():
            metric.reset()
        pl_module.log_dict({name: float(value) for name, value in values.items()}, prog_bar=True)

    def measurement(self, trainer: Trainer) -> dict[str, Any]:
        """How the numbers are measured: numbers of different measurement are not to be ranked together."""
        keys = {name.removeprefix("val/"): METRICS[name.removeprefix("val/").split("_")[0]] for name in self.metrics}
        estimators = {key: metric.estimator for key, metric in keys.items()}
        reference = data_reference(datamodule(trainer), self.reference_size)
        return measurement(estimators, self.num_samples, reference, self.network)

    def setting(self, trainer: Trainer) -> dict[str, Any]:
        """How the samples are made: settings may differ within a comparison, as columns of it."""
        module = cast(GenerativeModule, trainer.lightning_module)
        decays = [found.decays[0] for found in trainer.callbacks if isinstance(found, AveragedWeights)]  # type: ignore[attr-defined]
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

    def _write_measurement(self, trainer: Trainer) -> None:
        record = {"measurement": self.measurement(trainer), "setting": self.setting(trainer)}
        file = Path(trainer.default_root_dir) / "measurement.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=2) + "\n")
        for logger in trainer.loggers:
            if hasattr(logger, "log_measurement"):
                logger.log_measurement(record)
