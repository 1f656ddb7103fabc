"""What every module shares that trains one network at drawn times of a path: keyed draws, optimizer, log, weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fmlab.objectives import LossByTime, StepContext, TimeSampler, Uniform
from fmlab.paths import ProbabilityPath
from fmlab.random import Purpose, seed_default_generators
from fmlab.training.batches import Batch, Generators, keyed_generators, unpack
from fmlab.training.optimisation import LRSchedulerFactory, OptimizerFactory, WeightDecayOn, parameter_groups
from fmlab.training.overhead import LeanModule, with_signature


class NetworkModule(LeanModule):
    """Trains one network at drawn times of a path; `GenerativeModule` describes the arguments.

    All randomness of a step is keyed by (seed, optimizer step, shard), where shard = accumulation index x world size +
    rank: a resumed run repeats itself, and two processes draw what two accumulated batches draw.

    Attributes:
        averaged: The averaged networks by their decay, the one that validation uses first.
        loss_by_time: The losses since the last report.
    """

    LOGGED_METRICS: ClassVar[frozenset[str]] = frozenset({"train/loss", "train/lr", "train/grad_norm", "val/loss"})

    def __init__(
        self,
        network: nn.Module,
        path: ProbabilityPath,
        time_sampler: TimeSampler | None,
        num_classes: int | None,
        optimizer: OptimizerFactory,
        lr_scheduler: LRSchedulerFactory | None,
        compile: bool,
        seed: int,
        weight_decay_on: WeightDecayOn,
    ) -> None:
        super().__init__()
        self.network, self.path = network, path
        self.time_sampler = time_sampler or Uniform()
        self.num_classes = num_classes
        self.optimizer, self.lr_scheduler, self.weight_decay_on = optimizer, lr_scheduler, weight_decay_on
        self.seed = seed
        # In a tuple and a dict, so that neither becomes a submodule: parameters are saved and averaged once.
        self._running = (torch.compile(network) if compile else network,)
        self.averaged: dict[str, nn.Module] = {}
        self.loss_by_time = LossByTime()
        self._batch_of_step = (-1, 0)

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

    @with_signature
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = unpack(batch)
        step, device = self.global_step, batch.data.device
        shard = self.shard(step)
        seed_default_generators(Purpose.TORCH, self.seed, step, shard, device=device)  # for nn.Dropout
        generators = keyed_generators(Purpose.TRAINING, self.seed, step, shard, device=device)
        batch = self.prepare_batch(batch, generators)
        shards = self.trainer.accumulate_grad_batches * self.trainer.world_size
        losses, t = self.losses(self._running[0], batch, generators, self.step_context(self.progress, shard, shards))
        self.loss_by_time.add(losses, t)
        return losses.mean()

    def shard(self, step: int) -> int:
        """accumulation index x world size + rank, counted as the batches of an optimizer step arrive."""
        last, index = self._batch_of_step
        self._batch_of_step = (step, index + 1) if step == last else (step, 0)
        return self._batch_of_step[1] * self.trainer.world_size + self.global_rank

    def prepare_batch(self, batch: Batch, generators: Generators) -> Batch:
        """A training batch as the network is to see it: augmented."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if batch.source is not None or not hasattr(data, "augment") or not getattr(data, "augments", True):
            return batch
        return batch.replace(data=data.augment(batch.data, generators(Purpose.AUGMENT)))

    def step_context(self, progress: float = 1.0, shard: int = 0, shards: int = 1) -> StepContext:
        """Where in training times are drawn."""
        return StepContext(self.path, progress, shard, shards)

    @property
    def progress(self) -> float:
        """The share of training that is done."""
        total = self.trainer.max_steps if self.trainer.max_steps > 0 else self.trainer.estimated_stepping_batches
        return min(1.0, self.global_step / max(float(total), 1.0))

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(parameter_groups(self.network, self.weight_decay_on))
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.lr_scheduler(optimizer), "interval": "step"}}

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

    # What a checkpoint holds ------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the shape of a sample, which a network need not know, and what the next report will average."""
        sizes, losses = self.loss_by_time.pending()
        everyone = self.all_gather(losses.to(self.device)) if self.trainer.world_size > 1 else losses[None]
        checkpoint["fmlab"] = {
            "shape": list(self.trainer.datamodule.shape),  # type: ignore[attr-defined]
            "losses": {"sizes": sizes, "processes": everyone},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with the report that was under way, on as many processes as there were."""
        losses = checkpoint["fmlab"].get("losses")
        if losses and losses["sizes"] and len(losses["processes"]) == self.trainer.world_size:
            self.loss_by_time.restore(losses["sizes"], losses["processes"][self.global_rank].to(self.device))

    @property
    def evaluation_network(self) -> nn.Module:
        """The first averaged network where there is one, else the network as it is."""
        return next(iter(self.averaged.values()), self.network)
