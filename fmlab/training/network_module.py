"""What every module shares that trains one network at drawn times of a path: keyed draws, optimizer, log, weights."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from fmlab.objectives import LossByTime, StepContext, TimeSampler, Uniform
from fmlab.paths import ProbabilityPath
from fmlab.random import Purpose, fold, keyed_generator, seed_default_generators
from fmlab.training.batches import Batch, unpack
from fmlab.training.optimization import clip_fused_too, release_gradients
from fmlab.training.pairing import Generators


class NetworkModule(LightningModule):
    """Trains one network at drawn times of a path.

    All randomness of a step is keyed by (seed, optimizer step, shard), where shard = accumulation index x world size +
    rank: a resumed run repeats itself, and two processes draw what two accumulated batches draw.

    Args:
        network: What is trained.
        path: The probability path.
        time_sampler: Where training draws t; Uniform if left out.
        num_classes: The number of labels, or None.
        optimizer: Makes the optimizer from the network's parameters; torch's AdamW if left out.
        lr_scheduler: Makes the learning-rate schedule, stepped every optimizer step; constant if left out.
        compile: Compile the network with torch.compile; checkpoints are the same with and without.
        seed: The seed of all randomness of training; left out, it is `seed_everything`.
    """

    LOGGED_METRICS: ClassVar[frozenset[str]] = frozenset({"train/loss", "train/lr", "train/grad_norm", "val/loss"})

    def __init__(
        self,
        network: nn.Module,
        path: ProbabilityPath,
        time_sampler: TimeSampler | None = None,
        num_classes: int | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.path = network, path
        self.time_sampler = time_sampler or Uniform()
        self.num_classes = num_classes
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.seed = seed
        # In a tuple and a dict, so that neither becomes a submodule: parameters are saved and averaged once.
        self._running = (torch.compile(network) if compile else network,)
        self.averaged: dict[str, nn.Module] = {}
        self.loss_by_time = LossByTime()
        self._report: dict[str, float] = {}
        self._position = (-1, 0)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute as a module does; the one that Lightning sets at every call of a hook, directly.

        Before a plain value, nn.Module looks through its parameters, buffers and submodules: a step sets the name of
        the hook fifty times.
        """
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    @abstractmethod
    def about(self) -> str:
        """The path and what is learned on it, in a few words."""

    @abstractmethod
    def losses(
        self, network: Callable[..., Tensor], batch: Batch, draw: Generators, moment: StepContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """Loss and time a sample, both (B,), for fresh draws.

        Args:
            network: The network to measure.
            batch: The data, as the network is to see it.
            draw: The generator for each purpose.
            moment: Where in training this is; None outside of training, where no process waits for another.
        """

    # What training draws ----------------------------------------------------------------------------------------------

    def shard(self, step: int) -> int:
        """accumulation index x world size + rank, counted as the batches of an optimizer step arrive."""
        last, index = self._position
        self._position = (step, index + 1) if step == last else (step, 0)
        return self._position[1] * self.trainer.world_size + self.global_rank

    def prepared(self, batch: Batch, draw: Generators) -> Batch:
        """A training batch as the network is to see it: augmented."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if batch.source is not None or not hasattr(data, "augment") or not getattr(data, "augments", True):
            return batch
        return batch.replace(data=data.augment(batch.data, draw(Purpose.AUGMENT)))

    def moment(self, progress: float = 1.0, shard: int = 0, shards: int = 1) -> StepContext:
        """Where in training times are drawn."""
        return StepContext(self.path, progress, shard, shards)

    @property
    def progress(self) -> float:
        """The share of training that is done."""
        total = self.trainer.max_steps if self.trainer.max_steps > 0 else self.trainer.estimated_stepping_batches
        return min(1.0, self.global_step / max(float(total), 1.0))

    # Lightning's hooks ------------------------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = unpack(batch)
        step = self.global_step
        shard = self.shard(step)
        seed_default_generators(fold(self.seed, step, shard, Purpose.TORCH), batch.data.device)  # for nn.Dropout

        def draw(purpose: Purpose) -> torch.Generator:
            return keyed_generator(self.seed, step, shard, purpose, device=batch.data.device)

        batch = self.prepared(batch, draw)
        shards = self.trainer.accumulate_grad_batches * self.trainer.world_size
        losses, t = self.losses(self._running[0], batch, draw, self.moment(self.progress, shard, shards))
        self.loss_by_time.add(losses, t)
        return losses.mean()

    # Lightning asks for it at every step, and Python would take the function apart each time.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.network.parameters())
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.lr_scheduler(optimizer), "interval": "step"}}

    @property
    def _reports(self) -> bool:
        """Whether this optimizer step ends with a line in the log."""
        return (self.global_step + 1) % self.trainer.log_every_n_steps == 0  # type: ignore[attr-defined]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self._reports:
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            self.report({"train/grad_norm": torch.nn.utils.get_total_norm(gradients).item()})
            self._report_losses(optimizer)

    def report(self, values: Mapping[str, float]) -> None:
        """Adds numbers to the line that this training step leaves in the log.

        They go straight to the loggers. `self.log` would make an object of each number and, until the epoch ends, read
        all of them again at every step.
        """
        self._report.update(values)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Writes the line, once the callbacks have added to it."""
        if not self._report:
            return
        values = torch.tensor(list(self._report.values())).tolist()  # in float32, as `self.log` has them
        line = {**dict(zip(self._report, values)), "epoch": self.current_epoch}
        self._report = {}
        for logger in self.loggers:
            logger.log_metrics(line, step=self.global_step - 1)  # the index of the step, as Lightning counts
            logger.save()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips as Lightning does, and for fused optimizers too, which Lightning refuses even without a loss scaler."""
        clip_fused_too(self, optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        release_gradients(optimizer)

    def _report_losses(self, optimizer: torch.optim.Optimizer) -> None:
        """The loss since the last report, in total and in bins of t, over all processes."""
        totals = self.trainer.strategy.reduce(self.loss_by_time.take().to(self.device), reduce_op="sum")
        sums, counts = totals.cpu().tolist()
        loss = sum(sums) / max(sum(counts), 1)
        self.log("train/loss", loss, prog_bar=True, logger=False)  # for the bar, and for callbacks that watch it
        bins = {f"train/loss_t_bin_{i}": sums[i] / counts[i] for i in range(len(sums)) if counts[i]}
        self.report({"train/loss": loss, **bins, "train/lr": optimizer.param_groups[0]["lr"]})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint knows the shape of a sample, which a network need not, and what the next report will average."""
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
