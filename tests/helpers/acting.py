"""A callback for runs under test: at a chosen moment it sends this process a signal, or breaks something."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

Moment = Literal["batch", "validation", "generation", "validated"]


class Signal(Callback):
    """Sends a signal to this process, or to the process of one rank, at one moment of one step.

    Args:
        name: The signal's name.
        step: The optimizer step.
        moment: In a training batch, a validation batch, a batch of generated samples, or after all of a validation.
        rank: The process.
        count: How many times.
    """

    def __init__(self, name: str, step: int, moment: Moment = "batch", rank: int = 0, count: int = 1) -> None:
        self.signal, self.step, self.moment, self.rank, self.count = signal.Signals[name], step, moment, rank, count

    def _act(self, trainer: Trainer, moment: str) -> None:
        if trainer.global_step == self.step and moment == self.moment and trainer.global_rank == self.rank:
            for _ in range(self.count):
                os.kill(os.getpid(), self.signal)
            self.step = -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self._act(trainer, "batch")

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self._act(trainer, "validation")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._act(trainer, "generation")  # it comes before the callbacks that generate

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._act(trainer, "validated")


class KeepEvery(Callback):
    """Keeps a copy of every `last.ckpt` and `best.ckpt`, as `last-3.ckpt`."""

    def _keep(self, trainer: Trainer, name: str) -> None:
        file = Path(trainer.default_root_dir) / "checkpoints" / f"{name}.ckpt"
        if file.exists():
            step = torch.load(file, weights_only=True, mmap=True)["global_step"]
            target = Path(trainer.default_root_dir) / "kept" / f"{name}-{step}.ckpt"
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                shutil.copy(file, target)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self._keep(trainer, "last")
        self._keep(trainer, "best")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer, "last")


class Poison(Callback):
    """Makes a gradient or the data not finite at one step.

    Args:
        step: The optimizer step, counted from 0; -1 means every one.
        what: What is spoilt.
    """

    def __init__(self, step: int, what: Literal["gradient", "data"] = "data") -> None:
        self.step, self.what = step, what

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.what == "data" and self.step in (-1, trainer.global_step):
            batch[0][0] = float("nan")

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.what == "gradient" and self.step in (-1, trainer.global_step):
            next(p for p in pl_module.parameters() if p.grad is not None).grad.view(-1)[0] = float("inf")


class Trace(Callback):
    """Notes every step that was done, in a file `trace` beside the run's other files."""

    def __init__(self) -> None:
        self._step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.is_global_zero and trainer.global_step != self._step:
            self._step = trainer.global_step
            with (Path(trainer.default_root_dir) / "trace").open("a") as file:
                file.write(f"{self._step}\n")


class Fill(Callback):
    """Fills the file system at one step.

    Args:
        step: The optimizer step.
        name: The file that takes all the room.
    """

    def __init__(self, step: int, name: str) -> None:
        self.step, self.name = step, name

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self.step:
            self.step = -1
            with contextlib.suppress(OSError), Path(self.name).open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
