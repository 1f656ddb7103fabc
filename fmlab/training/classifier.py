"""A classifier of points of a path, for classifier guidance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fmlab.errors import UserError
from fmlab.fields import LearnedClassifier
from fmlab.objectives import StepContext, TimeSampler
from fmlab.paths import CondOT, GaussianPath, gaussian_path
from fmlab.random import Purpose
from fmlab.training.module import Batch, Generators, NetworkModule, unpack
from fmlab.training.optimisation import LRSchedulerFactory, OptimizerFactory, WeightDecayOn

BINS = 10
"""Validation sees every example in each of so many equal parts of [0, 1]."""


class NoisyClassifier(NetworkModule):
    """Learns log p_t(y | x) at every t of a Gaussian path, by cross-entropy, for classifier guidance.

    It generates nothing; `fmlab sample RUN --guidance.classifier` takes its run (Dhariwal and Nichol, 2021, section 4).
    Validation sees every example once in each tenth of [0, 1] and logs `val/loss`, `val/accuracy` and
    `val/accuracy_t_bin_0` to `val/accuracy_t_bin_9`.

    Args:
        network: `network(x, t)` with x (B, *event) and t (B,) gives logits (B, num_classes), such as `ClassifierHead`.
        path: The Gaussian path of the model that it is to guide; CondOT if left out.
        num_classes: The number of labels; left out, it is the data's.

    Raises:
        UserError: If there are fewer than two classes.
    """

    LOGGED_METRICS = NetworkModule.LOGGED_METRICS | {"val/accuracy"}

    path: GaussianPath

    def __init__(
        self,
        network: nn.Module,
        path: GaussianPath | None = None,
        time_sampler: TimeSampler | None = None,
        num_classes: int | None = None,
        optimizer: OptimizerFactory = torch.optim.AdamW,
        lr_scheduler: LRSchedulerFactory | None = None,
        compile: bool = False,
        seed: int = 0,
        weight_decay_on: WeightDecayOn = "all",
    ) -> None:
        if num_classes is None or num_classes < 2:
            cause = f"a classifier needs data with two or more classes, here are {num_classes or 'none'}"
            raise UserError(cause, key="model.num_classes")
        path = gaussian_path(path or CondOT(), "a classifier of noisy points")
        super().__init__(
            network, path, time_sampler, num_classes, optimizer, lr_scheduler, compile, seed, weight_decay_on
        )

    @property
    def about(self) -> str:
        return f"{self.path!r}, {type(self).__name__} of {self.num_classes} classes"

    def losses(
        self, network: Callable[..., Tensor], batch: Batch, generators: Generators, context: StepContext | None = None
    ) -> tuple[Tensor, Tensor]:
        t = self.time_sampler.sample(len(batch.data), generators(Purpose.TIME), context or StepContext(self.path))
        t = self.path.clip(t, "velocity")
        return functional.nll_loss(self._noisy(network, batch, t, generators), self._labels(batch), reduction="none"), t

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch = unpack(batch)
        labels, losses, accuracies = self._labels(batch), [], []
        for part in range(BINS):
            generators = self.validation_generators(batch, batch_idx, part)
            within = torch.rand(len(labels), generator=generators(Purpose.TIME), device=labels.device)
            t = self.path.clip((part + within) / BINS, "velocity")
            log_probability = self._noisy(self.evaluation_network, batch, t, generators)
            losses.append(functional.nll_loss(log_probability, labels))
            accuracies.append((log_probability.argmax(1) == labels).float().mean())
        everywhere = {"val/loss": torch.stack(losses).mean(), "val/accuracy": torch.stack(accuracies).mean()}
        by_bin = {f"val/accuracy_t_bin_{part}": share for part, share in enumerate(accuracies)}
        for values, shown in ((everywhere, True), (by_bin, False)):
            self.log_dict(values, on_epoch=True, sync_dist=True, prog_bar=shown, batch_size=len(labels))

    def _noisy(self, network: Callable[..., Tensor], batch: Batch, t: Tensor, generators: Generators) -> Tensor:
        """Log-probabilities of a batch with fresh noise at the times `t`."""
        noise = torch.randn(batch.data.shape, generator=generators(Purpose.NOISE), device=batch.data.device)
        return LearnedClassifier(network, self.path)(self.path.sample(batch.data, noise, t), t)

    @staticmethod
    def _labels(batch: Batch) -> Tensor:
        if batch.condition is None:
            raise UserError("the batches of a classifier need labels", key="data")
        return batch.condition
