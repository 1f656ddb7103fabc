"""Callbacks that leave a training step alone, under the real trainer."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer

import fmlab.training
from fmlab.data import Toy2D
from fmlab.networks import MLP
from fmlab.training.flow_matching import FlowMatching
from fmlab.training.step_hooks import NoStepHooks

STEP_HOOKS = [name for name, value in vars(NoStepHooks).items() if name.startswith("on_") and value is None]
OURS = [value for value in vars(fmlab.training).values() if isinstance(value, type) and issubclass(value, Callback)]


class Seen(NoStepHooks, Callback):
    """Notes the hooks that it defines."""

    def __init__(self) -> None:
        self.hooks: list[str] = []

    def on_train_start(self, *args: Any) -> None:
        self.hooks.append("on_train_start")

    def on_before_backward(self, *args: Any) -> None:
        self.hooks.append("on_before_backward")

    def on_train_batch_end(self, *args: Any) -> None:
        self.hooks.append("on_train_batch_end")


def test_lightning_passes_over_the_hooks_of_a_step_that_are_not_there() -> None:
    seen = Seen()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_steps=2, limit_val_batches=0, callbacks=[seen], **quiet)
    data = Toy2D(train_size=256, validation_size=64, global_batch_size=64)
    trainer.fit(FlowMatching(MLP((2,), width=8)), datamodule=data)
    assert seen.hooks == ["on_train_start", *2 * ["on_before_backward", "on_train_batch_end"]]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_the_commands_own_callbacks_have_only_the_step_hooks_that_they_define(kind: type[Callback]) -> None:
    assert all(hasattr(Callback, name) for name in STEP_HOOKS), "a hook that Lightning does not have"
    assert len(STEP_HOOKS) == 6
    for name in STEP_HOOKS:
        assert getattr(kind, name) is not getattr(Callback, name), name
