"""What a perfect network would lose, and what the network in training loses beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fmlab.callbacks.generation import datamodule
from fmlab.distributions import Empirical
from fmlab.errors import UserError
from fmlab.fields import TERMS, ExactField, loss_terms, run_network
from fmlab.modules import GenerativeModule, RepeatableDraws, exact_law
from fmlab.objectives import MeansByTime
from fmlab.paths import GaussianPath, PathSample, Posterior
from fmlab.records.atomic import atomic_write_json


class LossFloor(Callback):
    """Compares the network with the exact field of the whole training set, on the same draws at every validation.

    Logs `train/excess`, the network's squared distance from the exact field in the loss's own space and weight, in
    total and in bins of t, and `train/floor`, what a perfect network would lose. The evaluation network is measured,
    with the averaged weights where there are any. The latest result lies in the run's `excess.json`, with standard
    errors. Draws and exact field are shared out over the processes; the exact side is computed once.

    The exact field of a finite set draws nothing but its points. Towards t = 1 an excess is therefore also what lets a
    network draw new ones.

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
        self._law: Empirical | None = None
        self._exact: list[tuple[Tensor, Tensor]] | None = None

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The law of the training set, before any training: what cannot be known is refused now, not hours later."""
        hint = "set floor.enabled to false"
        self._law = exact_law(cast(GenerativeModule, pl_module), datamodule(trainer), "floor", hint)
        self._exact = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._law is None and self._exact is None:
            self.prepare(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        means = self.measure(trainer, cast(GenerativeModule, pl_module))
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
        draws = RepeatableDraws(module, datamodule(trainer), self.num_samples, self.batch_size)
        mine = range(trainer.global_rank, len(draws), trainer.world_size)
        path, means = cast(GaussianPath, module.path), MeansByTime(TERMS)
        if self._exact is None:
            self._exact = [self._exact_side(path, *draws.batch(index, module.device)) for index in mine]
            self._law = None  # its points may be large
        for index, exact in zip(mine, self._exact):
            point, condition = draws.batch(index, module.device)
            with trainer.precision_plugin.forward_context():
                output = run_network(module.evaluation_network, path, module.prediction, point.x, point.t, condition)
            known = Posterior(path, point.x, point.t, *(part.to(module.device) for part in exact))
            means.add(point.t, loss_terms(output, known, point, module.measure))
        return means

    def _exact_side(self, path: GaussianPath, point: PathSample, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Expected data and noise at the points of a batch, kept on the CPU."""
        assert self._law is not None
        self._law = self._law.to(point.x.device)
        exact = ExactField(self._law, path, condition).evaluate(point.x, point.t)
        return exact.data.cpu(), exact.noise.cpu()
