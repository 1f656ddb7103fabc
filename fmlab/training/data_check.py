"""The start of a run: what its data are, whether they are those of before, and a look at the first batches."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from fmlab.data.contract import check_batch, data_changes, data_record, describe_record
from fmlab.records import RunLayout, read_meta
from fmlab.records.meta import add_to_meta
from fmlab.training.generation import datamodule
from fmlab.training.module import unpack

_BATCHES = 20
"""How many batches are looked at: a label beyond the classes need not be in the first one."""


class DataCheck(Callback):
    """Prints and records what a run is trained on, and checks its first batches.

    Args:
        layout: The run's folder.
    """

    def __init__(self, layout: RunLayout) -> None:
        self.layout = layout
        self._left = _BATCHES

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        record, before = data_record(datamodule(trainer)), read_meta(self.layout).get("data") or {}
        print(f"data       {describe_record(record)}", flush=True)
        for change in data_changes(before, record):
            print(f"note: {change}", flush=True)
        add_to_meta(self.layout, data=record)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._left:
            return
        arrived, module = unpack(batch), pl_module
        classes, dimension = (getattr(module, name, None) for name in ("num_classes", "condition_dim"))
        note = check_batch(datamodule(trainer), arrived.data, arrived.condition, classes, dimension)
        if note and self._left == _BATCHES and trainer.is_global_zero:
            print(f"note: {note}", flush=True)
        self._left -= 1
