"""What a training step leaves in the log: one line a report, with what the callbacks add to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from fmlab.data import Toy2D
from fmlab.networks import MLP
from fmlab.training.generative_module import FlowMatching
from fmlab.training.progress import Throughput


class Lines(Logger):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "lines"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.lines.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept of them."""


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_report_is_one_line_of_every_logger(accumulate: int) -> None:
    loggers = [Lines(), Lines()]
    trainer = Trainer(
        accelerator="cpu",
        max_steps=6,
        max_epochs=-1,
        log_every_n_steps=3,
        limit_val_batches=0,
        accumulate_grad_batches=accumulate,
        callbacks=[Throughput()],
        logger=loggers,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = Toy2D(train_size=256, validation_size=64, global_batch_size=64)  # epochs of four optimizer steps
    trainer.fit(FlowMatching(MLP((2,), width=8)), datamodule=data)
    assert loggers[0].lines == loggers[1].lines
    assert [step for step, _ in loggers[0].lines] == [2, 5], "the index of the step that ended"
    assert [line["epoch"] for _, line in loggers[0].lines] == [0, 1]
    for _, line in loggers[0].lines:
        assert {"train/loss", "train/grad_norm", "train/lr"} <= set(line)
        assert {"perf/images_per_second", "perf/milliseconds_per_step"} <= set(line)
        assert sum(name.startswith("train/loss_t_bin_") for name in line) > 5
    last = loggers[0].lines[-1][1]["train/loss"]
    assert trainer.callback_metrics["train/loss"].item() == trainer.progress_bar_metrics["train/loss"] == last
