"""The bare loop under Lightning's Trainer with nothing else: how much of `fmlab fit` is Lightning itself.

    python plain_lightning.py RECIPE FIRST BLOCK BLOCKS FILE

No logger, no checkpoint, no progress bar, no callback but the watch, which lets blocks of the bare loop take turns.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bare_loop import BareLoop, Recipe, schedule
from clock_callback import AlternatingCallback
from lightning.pytorch import LightningModule, Trainer


class PlainModule(LightningModule):
    """The loop's loss, optimizer, clipping, schedule and averaged weights, each in the hook that Lightning has for it.

    Args:
        loop: The loop, whose `step` is not used.
    """

    def __init__(self, loop: BareLoop) -> None:
        super().__init__()
        self.loop, self.network = loop, loop.network

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loop.loss(*batch)

    def configure_optimizers(self) -> Any:
        recipe, optimizer = self.loop.recipe, self.loop.optimizer
        rates = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: schedule(step, recipe.warmup_steps, recipe.last)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        torch.nn.utils.clip_grad_norm_(self.loop.parameters, self.loop.recipe.clip)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.loop.average(self.global_step)


class Batches:
    """An epoch of the loop's batches.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: BareLoop) -> None:
        self.loop = loop

    def __len__(self) -> int:
        return len(self.loop.images) // self.loop.recipe.batch_size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(len(self)):
            rows = self.loop.rows()
            yield self.loop.images[rows], self.loop.labels[rows]


def train(recipe_file: Path, first: int, block: int, blocks: int, file: Path) -> None:
    """Trains, and writes the times of both sides."""
    recipe = Recipe(**json.loads(recipe_file.read_text()))
    loop = BareLoop(recipe)
    trainer = Trainer(
        accelerator="cpu" if recipe.device == "cpu" else "gpu",
        devices=1,
        precision="bf16-mixed" if recipe.autocast else "32-true",
        max_steps=recipe.last,
        max_epochs=-1,
        callbacks=[AlternatingCallback(str(recipe_file), first, block, blocks, str(file))],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(PlainModule(loop), Batches(loop))


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    given, *numbers, measured = sys.argv[1:]
    train(Path(given), *map(int, numbers), Path(measured))
