"""Callbacks that watch `fmlab fit`: all that is added to it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from bare_loop import BareLoop, Recipe
from clock import Clock, write
from lightning.pytorch import Callback, LightningModule, Trainer


class ClockCallback(Callback):
    """Measures a run and writes the measurement to a file.

    Args:
        first: The step at whose end measuring begins.
        last: The step at whose end it ends.
        file: Where the measurement goes.
    """

    def __init__(self, first: int, last: int, file: str) -> None:
        self.first, self.last, self.file = first, last, Path(file)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock = Clock(self.first, self.last, pl_module.device)
        self.clock.start(pl_module.network)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.clock.tick(trainer.global_step)
        if trainer.global_step == self.last:
            write(self.clock.measurement(), self.file)


class AlternatingCallback(Callback):
    """After every block of the run's steps, as many steps of the bare loop in the same process; writes the times.

    Args:
        recipe: The bare loop's recipe file, of the same training.
        first: The step at whose end measuring begins.
        block: Steps a block.
        blocks: Blocks of each side.
        file: Where the milliseconds a step go: a list of [fmlab, bare], one pair a block.
    """

    def __init__(self, recipe: str, first: int, block: int, blocks: int, file: str) -> None:
        self.recipe, self.file = Path(recipe), Path(file)
        self.first, self.block, self.blocks = first, block, blocks
        self.pairs: list[list[float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        state = torch.get_rng_state()
        self.loop = BareLoop(Recipe(**json.loads(self.recipe.read_text())))
        for _ in range(self.first):
            self.loop.step()
        torch.set_rng_state(state)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        done = trainer.global_step - self.first
        if done < 0 or done % self.block or len(self.pairs) == self.blocks:
            return
        fmlab = self._milliseconds(self._began) if done else None
        began = self._now()
        for _ in range(self.block):
            self.loop.step()
        if fmlab is not None:
            self.pairs.append([fmlab, self._milliseconds(began)])
        if len(self.pairs) == self.blocks:
            self.file.write_text(json.dumps(self.pairs))
        self._began = self._now()

    def _milliseconds(self, began: float) -> float:
        return 1000 * (self._now() - began) / self.block

    def _now(self) -> float:
        if self.loop.device.type == "cuda":
            torch.cuda.synchronize(self.loop.device)
        return time.perf_counter()
