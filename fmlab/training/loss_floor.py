"""How far a loss can fall: what the exact field loses on the draws of training, and what a network loses beyond it.

The loss of flow matching is L = E |u_theta(x_t) - y|^2 for the conditional target y; with u = E[y | x_t] it is
E |u_theta - u|^2 + E Var(y | x_t) (Lipman et al. 2023, theorem 2). The second term, the floor, is what a perfect
network loses; the first, the excess, is what training can still gain.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from fmlab.data import DataModule
from fmlab.errors import UserError
from fmlab.fields import ExactField, PosteriorMean, run_network
from fmlab.objectives import MeansByTime
from fmlab.paths import GaussianPath, PathPrediction, PathSample, Posterior
from fmlab.random import Purpose
from fmlab.records.atomic import atomic_write_json
from fmlab.training.exact_law import exact_law
from fmlab.training.generation import datamodule
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.interruption import stop_if_requested
from fmlab.training.module import keyed_generators, unpack

Measure = Callable[[PathPrediction, PathSample], Tensor]
"""`measure(prediction, point)`: the loss of each sample, (B,), a weighted square of an error that is linear in both."""

TERMS = ("loss", "floor", "excess", "difference", "size")


def loss_terms(prediction: PathPrediction, exact: Posterior, point: PathSample, measure: Measure) -> Tensor:
    """The terms of the loss on the same draws, of shape (5, B), in the order of `TERMS`.

    * loss: the network's, against the conditional target;
    * floor: the exact field's, against the same target;
    * excess: the network's, against the exact field. It estimates E |u_theta - u|^2 and is never negative;
    * difference: loss - floor. It has the same mean as the excess, but is noisy with the draws of the target. That
      both agree is a check that the exact field is the one that training regresses on;
    * size: E |u|^2, the excess of a network that answers 0 everywhere. The excess relative to it needs no unit.
    """
    loss, floor = measure(prediction, point), measure(exact, point)
    target = replace(point, velocity=exact.velocity, noise=exact.noise)
    zero = torch.zeros_like(point.x)
    nothing = replace(exact, expected_data=zero, expected_noise=zero, exact_score=None)
    return torch.stack([loss, floor, measure(prediction, target), loss - floor, measure(nothing, target)])


class ExcessLoss:
    """The terms of a module's loss (`TERMS`) by time, on draws of training that repeat.

    The draws are the same rows, flips, labels, noise and times every time, keyed by the batch, whichever process asks
    for it. Rows are drawn with replacement, so that draws are independent; times are those of the end of training.
    Where it is measured again and again, the exact side of each draw is computed once and stored on the CPU; the law,
    whose points may be large, is let go after that.

    Args:
        module: What is trained; its loss and its path are measured.
        data: What it is trained on, in memory.
        law: The law whose exact field a perfect network would have.
        num_samples: How many draws of data, noise and t.
        batch_size: Draws a batch; the last one may be smaller.
        rank: Which share of the batches is measured; the totals of all ranks add up.
        world_size: How many shares there are.
        repeated: Whether it is measured more than once.
    """

    def __init__(
        self,
        module: GenerativeModule,
        data: DataModule,
        law: PosteriorMean,
        num_samples: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        repeated: bool = True,
    ) -> None:
        self.module, self.data, self.num_samples, self.batch_size = module, data, num_samples, batch_size
        batches = -(-num_samples // batch_size)
        self.mine = range(rank, batches, world_size)
        self.repeated = repeated
        self._law: PosteriorMean | None = law
        self._exact: list[tuple[Tensor, Tensor]] = []

    def draw_batch(self, index: int, device: torch.device | str = "cpu") -> tuple[PathSample, Tensor | None]:
        """A batch's points on the path, and the condition of each or None, on a device."""
        split, size = self.data.split("train"), min(self.batch_size, self.num_samples - index * self.batch_size)
        keys = (Purpose.FLOOR, self.module.seed, index)
        generators = keyed_generators(*keys, device=device)
        rows = torch.randint(len(split), (size,), generator=keyed_generators(*keys)(Purpose.ORDER))
        raw = split.__getitems__(rows)
        moved = raw.to(device) if isinstance(raw, Tensor) else tuple(part.to(device) for part in raw)
        batch = unpack(self.data.on_after_batch_transfer(moved, 0))
        batch = batch.replace(
            data=self.data.augment(batch.data, generators(Purpose.AUGMENT)),
            condition=self.module.drop_condition(batch.condition, generators(Purpose.LABEL_DROPOUT)),
        )
        return self.module.draw_point(batch, generators), batch.condition

    @torch.no_grad()
    def measure(
        self,
        network: nn.Module,
        device: torch.device | str = "cpu",
        context: Callable[[], AbstractContextManager] = nullcontext,
    ) -> MeansByTime:
        """The terms of the loss of a network, on a device; its forwards run within `context()`, such as autocast."""
        module, means = self.module, MeansByTime(TERMS)
        for position, index in enumerate(self.mine):
            point, condition = self.draw_batch(index, device)
            expected = [part.to(device) for part in self._exact_side(position, point, condition)]
            with context():
                output = run_network(network, module.path, module.prediction, point.x, point.t, condition)
            exact = Posterior(cast(GaussianPath, module.path), point.x, point.t, *expected)
            means.add(point.t, loss_terms(output, exact, point, module.measure))
        if self.repeated:
            self._law = None
        return means

    def _exact_side(self, position: int, point: PathSample, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Expected data and noise at the points of a batch."""
        if position < len(self._exact):
            return self._exact[position]
        assert self._law is not None
        if hasattr(self._law, "to"):
            self._law = self._law.to(point.x.device)
        exact = ExactField(self._law, cast(GaussianPath, self.module.path), condition).evaluate(point.x, point.t)
        if self.repeated:
            self._exact.append((exact.data.cpu(), exact.noise.cpu()))
        return exact.data, exact.noise


class LossFloor(Callback):
    """Compares the network with the exact field of the whole training set, on the same draws at every validation.

    Logs `train/excess`, the network's squared distance from the exact field in the loss's own space and weight, in
    total and in bins of t, and `train/floor`, what a perfect network would lose. The evaluation network is measured,
    with the averaged weights where there are any. The latest result lies in the run's `excess.json`, with standard
    errors. Draws and exact field are shared out over the processes.

    Where the exact field is not known (another source or coupling, data that do not fit in memory, ...) a warning says
    why, and nothing is measured. The exact field of a finite set draws nothing but its points: towards t = 1 an excess
    is therefore also what lets a network draw new ones.

    Args:
        num_samples: How many draws of data, noise and t; at least 2.
        batch_size: Draws a batch.
        enabled: Whether to measure.
    """

    def __init__(self, num_samples: int = 2048, batch_size: int = 256, enabled: bool = True) -> None:
        if num_samples < 2:
            raise UserError(f"a standard error needs at least 2 samples, got {num_samples}", key="floor.num_samples")
        if batch_size < 1:
            raise UserError(f"at least 1, got {batch_size}", key="floor.batch_size")
        self.num_samples, self.batch_size, self.enabled = num_samples, batch_size, enabled
        self._terms: ExcessLoss | None = None

    def logged_metrics(self, data: object) -> set[str]:
        """The names of the metrics that it logs, without those by time."""
        return {"train/excess", "train/floor"}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the law of the training set: what cannot be known is said before any training, not hours later."""
        if not self.enabled or self._terms is not None:
            return
        module, data = cast(GenerativeModule, pl_module), datamodule(trainer)
        try:
            law = exact_law(module, data, "floor")
        except UserError as error:
            self.enabled = False
            rank_zero_warn(f"floor: not measured, {error.message}")
            return
        ranks = (trainer.global_rank, trainer.world_size)
        self._terms = ExcessLoss(module, data, law, self.num_samples, self.batch_size, *ranks)

    on_validation_start = on_fit_start

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.enabled or trainer.sanity_checking:
            return
        means = self.measure(trainer, cast(GenerativeModule, pl_module))
        stop_if_requested(trainer, before_meeting=True)
        if trainer.world_size > 1:
            total = trainer.strategy.reduce(means.totals.to(pl_module.device), reduce_op="sum")
            means.totals = cast(Tensor, total).cpu()
        totals = {f"train/{name}": means.overall(name).value for name in ("excess", "floor")}
        bins = {f"train/excess_t_bin_{i}": mean.value for i, mean in enumerate(means.by_bin("excess")) if mean.draws}
        pl_module.log_dict({**totals, **bins})
        if trainer.is_global_zero:
            file = Path(trainer.default_root_dir) / "excess.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_json(file, {"step": trainer.global_step, **means.record()})

    def measure(self, trainer: Trainer, module: GenerativeModule) -> MeansByTime:
        """The terms of the loss on this process's share of the draws."""
        assert self._terms is not None

        def forward_context() -> AbstractContextManager:
            stop_if_requested(trainer)
            return trainer.precision_plugin.forward_context()

        return self._terms.measure(module.evaluation_network, module.device, forward_context)
