"""A data module whose examples are their own row numbers, and a model that writes down what it is fed."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from fmlab.data import DataModule, TensorSet


class RowNumbers(DataModule):
    """Points 0, 1, 2, ...; 43 make ten steps of four an epoch and leave three."""

    shape = (1,)
    kind = "points"

    def __init__(self, global_batch_size: int = 4, train_size: int = 43, validation_size: int = 9) -> None:
        super().__init__(global_batch_size, seed=3)
        self.train_size, self.validation_size = train_size, validation_size

    def read(self) -> tuple[TensorSet, TensorSet]:
        rows = torch.arange(float(max(self.train_size, self.validation_size))).unsqueeze(1)
        return TensorSet(rows[: self.train_size]), TensorSet(rows[: self.validation_size])


class Witness(LightningModule):
    """Records every batch as (optimizer step, batch index, rows); fails in the batch numbered `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.fails_at = fails_at
        self.seen: list[tuple[int, int, list[int]]] = []
        self.validated: list[list[int]] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if len(self.seen) == self.fails_at:
            raise RuntimeError("as the test wants it")
        self.seen.append((self.global_step, batch_idx, batch.flatten().int().tolist()))
        return (self.weight * batch).mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(batch.flatten().int().tolist())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-6)
