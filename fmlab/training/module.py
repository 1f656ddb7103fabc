"""What every module shares that trains one network at drawn times of a path: batches, keyed draws, optimizer, log."""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.objectives import LossByTime, StepContext, TimeSampler, Uniform
from fmlab.paths import CondOT, ProbabilityPath
from fmlab.random import Purpose, keyed_generator, seed_default_generators
from fmlab.training.optimisation import LRSchedulerFactory, OptimizerFactory, WeightDecayOn, parameter_groups
from fmlab.training.overhead import LeanModule
from fmlab.training.recipe import Recipe, continue_recipe, make_optimizer, refuse_short_schedule

Generators = Callable[[Purpose], torch.Generator]
"""The generator for each purpose."""


def keyed_generators(stage: Purpose, *keys: int, device: torch.device | str = "cpu") -> Generators:
    """Generators of a stage such as training, whose numbers depend on stage, keys and purpose alone."""
    return lambda purpose: keyed_generator(stage, *keys, purpose, device=device)


@dataclass(frozen=True)
class Batch:
    """Data with what belongs to each data point.

    Attributes:
        data: Of shape (B, *event).
        condition: One a data point, labels (B,) or vectors (B, D), or None.
        source: The x_0 that goes with each data point, shaped like `data`, or None.
    """

    data: Tensor
    condition: Tensor | None = None
    source: Tensor | None = None

    def replace(self, **changes: Any) -> Batch:
        return dataclasses.replace(self, **changes)


def unpack(batch: Any) -> Batch:
    """A tensor, alone or in a list, has no condition, a pair has one; a mapping names `data`, `condition` and `source`.

    Raises:
        UserError: If a batch is anything else.
    """
    if isinstance(batch, Tensor):
        return Batch(batch)
    if isinstance(batch, Mapping):
        if "data" not in batch or not set(batch) <= {"data", "condition", "source"}:
            raise UserError(f"a batch with the keys {', '.join(map(str, batch))}", hint="data, condition, source")
        return Batch(**batch)
    if not isinstance(batch, (list, tuple)) or not 1 <= len(batch) <= 2 or not isinstance(batch[0], Tensor):
        parts = f"of {len(batch)} parts" if isinstance(batch, (list, tuple)) else ""
        raise UserError(f"a batch is a {type(batch).__name__} {parts}".strip(), key="data", hint="x, (x, label), ...")
    return Batch(*batch)


class NetworkModule(LeanModule):
    """Trains one network at drawn times of a path.

    All randomness of a step is keyed by (seed, optimizer step, shard), where shard = accumulation index x world size +
    rank: a resumed run repeats itself, and two processes draw what two accumulated batches draw.

    Args:
        network: `network(x, t, condition)` with x (B, *event), t (B,) and condition (B,), (B, D) or None; same shape
            out as in.
        path: The probability path; CondOT if left out.
        time_sampler: Where training draws t; Uniform if left out.
        num_classes: The number of labels; label `num_classes` means "no label". Left out, it is the data's.
        optimizer: Makes the optimizer from the network's parameters; torch's AdamW if left out.
        lr_scheduler: Makes the learning-rate schedule, stepped every optimizer step; constant if left out.
        compile: Compile the network with torch.compile; checkpoints are the same with and without.
        seed: The seed of all randomness of training; left out, it is `seed_everything`.
        weight_decay_on: What the optimizer's weight decay acts on: `all` parameters, or `matrices` alone, that is, not
            biases, norms and embeddings.

    Attributes:
        averaged: The averaged networks by their decay, the one that validation uses first.
        loss_by_time: The losses since the last report.
    """

    LOGGED_METRICS: ClassVar[frozenset[str]] = frozenset({"train/loss", "train/lr", "train/grad_norm", "val/loss"})

    def __init__(
        self,
        network: nn.Module,
        path: ProbabilityPath | None = None,
        time_sampler: TimeSampler | None = None,
        num_classes: int | None = None,
        optimizer: OptimizerFactory = torch.optim.AdamW,
        lr_scheduler: LRSchedulerFactory | None = None,
        compile: bool = False,
        seed: int = 0,
        weight_decay_on: WeightDecayOn = "all",
    ) -> None:
        super().__init__()
        self.network, self.path = network, path or CondOT()
        self.time_sampler = time_sampler or Uniform()
        self.num_classes = num_classes
        self.optimizer, self.lr_scheduler, self.weight_decay_on = optimizer, lr_scheduler, weight_decay_on
        self.seed = seed
        # In a tuple and a dict, so that neither becomes a submodule: parameters are saved and averaged once.
        self._running = (torch.compile(network) if compile else network,)
        self.averaged: dict[str, nn.Module] = {}
        self.loss_by_time = LossByTime()
        self._batch_of_step = (-1, 0)
        self._recipe: Recipe = {}

    @property
    @abstractmethod
    def about(self) -> str:
        """The path and what is learned on it, in a few words."""

    @abstractmethod
    def losses(
        self, network: Callable[..., Tensor], batch: Batch, generators: Generators, context: StepContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """Loss and time a sample, both (B,), for fresh draws.

        Args:
            network: The network to measure.
            batch: The data, as the network is to see it.
            generators: The generator for each purpose.
            context: Where in training this is; None outside of training, where no process waits for another.
        """

    # One step ---------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = unpack(batch)
        step, device, trainer = self.global_step, batch.data.device, self.trainer
        last, index = self._batch_of_step
        index = index + 1 if step == last else 0  # which of the batches that are accumulated for this step
        self._batch_of_step = (step, index)
        shard = index * trainer.world_size + self.global_rank
        seed_default_generators(Purpose.TORCH, self.seed, step, shard, device=device)  # for nn.Dropout
        generators = keyed_generators(Purpose.TRAINING, self.seed, step, shard, device=device)
        batch = self.prepare_batch(batch, generators)
        steps = trainer.max_steps if trainer.max_steps > 0 else trainer.estimated_stepping_batches
        progress = min(1.0, step / max(float(steps), 1.0))
        context = StepContext(self.path, progress, shard, trainer.accumulate_grad_batches * trainer.world_size)
        losses, t = self.losses(self._running[0], batch, generators, context)
        self.loss_by_time.add(losses, t)
        return losses.mean()

    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]  # see LeanModule

    def prepare_batch(self, batch: Batch, generators: Generators) -> Batch:
        """A training batch as the network is to see it: augmented."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if batch.source is not None or not hasattr(data, "augment") or not getattr(data, "augments", True):
            return batch
        return batch.replace(data=data.augment(batch.data, generators(Purpose.AUGMENT)))

    def validation_generators(self, batch: Batch, batch_idx: int, *keys: int) -> Generators:
        """The generators of a batch of the validation, the same ones every time."""
        index = batch_idx * self.trainer.world_size + self.global_rank
        return keyed_generators(Purpose.VALIDATION, self.seed, index, *keys, device=batch.data.device)

    @property
    def evaluation_network(self) -> nn.Module:
        """The first averaged network where there is one, else the network as it is."""
        return next(iter(self.averaged.values()), self.network)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(parameter_groups(self.network, self.weight_decay_on))
        schedule, self._recipe = make_optimizer(optimizer, self.lr_scheduler)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        for config in self.trainer.lr_scheduler_configs:
            refuse_short_schedule(config.scheduler, self.trainer.max_steps)

    # The log ----------------------------------------------------------------------------------------------------------

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Reports the gradient's norm and the loss since the last report where this step ends with a line in the log.

        The loss is that of all processes, in total and in bins of t.
        """
        if (self.global_step + 1) % self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        self.report({"train/grad_norm": torch.nn.utils.get_total_norm(gradients).item()})
        totals = self.trainer.strategy.reduce(self.loss_by_time.take().to(self.device), reduce_op="sum")
        sums, counts = totals.cpu().tolist()
        loss = sum(sums) / max(sum(counts), 1)
        self.log("train/loss", loss, prog_bar=True, logger=False)  # for the bar, and for callbacks that watch it
        bins = {f"train/loss_t_bin_{i}": sums[i] / counts[i] for i in range(len(sums)) if counts[i]}
        self.report({"train/loss": loss, **bins, "train/lr": optimizer.param_groups[0]["lr"]})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the shape of a sample, which a network need not know, and what the next report will average."""
        sizes, losses = self.loss_by_time.pending()
        everyone = self.all_gather(losses.to(self.device)) if self.trainer.world_size > 1 else losses[None]
        checkpoint["fmlab"] = {
            "recipe": {**self._recipe, "max_steps": self.trainer.max_steps},
            "shape": list(self.trainer.datamodule.shape),  # type: ignore[attr-defined]
            "losses": {"sizes": sizes, "processes": everyone},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with the report that was under way, on as many processes as there were, and takes up a new recipe."""
        optimizer = self.optimizer(parameter_groups(self.network, self.weight_decay_on))
        schedule, recipe = make_optimizer(optimizer, self.lr_scheduler)
        continue_recipe(checkpoint, optimizer, schedule, recipe, self.trainer.max_steps)
        losses = checkpoint["fmlab"].get("losses")
        if losses and losses["sizes"] and len(losses["processes"]) == self.trainer.world_size:
            self.loss_by_time.restore(losses["sizes"], losses["processes"][self.global_rank].to(self.device))
