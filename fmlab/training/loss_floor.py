"""What a perfect network would lose, and what the network in training loses beyond it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from fmlab.errors import UserError
from fmlab.objectives import MeansByTime
from fmlab.records.atomic import atomic_write_json
from fmlab.training.exact_law import exact_law
from fmlab.training.excess import ExcessLoss
from fmlab.training.generation import datamodule
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.preemption import before_meeting, stop_point
from fmlab.training.step_hooks import NoStepHooks


class LossFloor(NoStepHooks, Callback):
    """Compares the network with the exact field of the whole training set, on the same draws at every validation.

    Logs `train/excess`, the network's squared distance from the exact field in the loss's own space and weight, in
    total and in bins of t, and `train/floor`, what a perfect network would lose. The evaluation network is measured,
    with the averaged weights where there are any. The latest result lies in the run's `excess.json`, with standard
    errors. Draws and exact field are shared out over the processes; the exact side is computed once.

    Where the exact field is not known (another source or coupling, data that do not fit in memory, ...) a warning says
    why, and nothing is measured.

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
        self._terms: ExcessLoss | None = None

    def logged_metrics(self, data: object) -> set[str]:
        """The names of the metrics that it logs, without those by time."""
        return {"train/excess", "train/floor"}

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The law of the training set, before any training: what cannot be known is told now, not hours later."""
        module, data = cast(GenerativeModule, pl_module), datamodule(trainer)
        try:
            law = exact_law(module, data, "floor")
        except UserError as error:
            self.enabled = False
            rank_zero_warn(f"floor: not measured, {error.message}")
            return
        place = (trainer.global_rank, trainer.world_size)
        self._terms = ExcessLoss(module, data, law, self.num_samples, self.batch_size, *place)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.enabled and self._terms is None:
            self.prepare(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.enabled or trainer.sanity_checking:
            return
        means = self.measure(trainer, cast(GenerativeModule, pl_module))
        before_meeting(trainer)
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
            stop_point(trainer)
            return trainer.precision_plugin.forward_context()

        return self._terms.measure(module.evaluation_network, module.device, forward_context)
