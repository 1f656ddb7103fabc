"""What makes a step cheaper changes nothing else: hooks under the real trainer, clipping against torch's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import SimpleProfiler
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from fmlab.data import Toy2D
from fmlab.networks import MLP
from fmlab.training import FlowMatching
from fmlab.training.overhead import STEP_HOOKS, NullProfiler, clip_norm


class Recorder(Callback):
    """Records the hooks that it defines."""

    def __init__(self) -> None:
        self.hooks: list[str] = []

    def on_train_start(self, *args: Any) -> None:
        self.hooks.append("on_train_start")

    def on_before_backward(self, *args: Any) -> None:
        self.hooks.append("on_before_backward")


class Further(Recorder):
    """Defines one more hook, and inherits the others."""

    def on_train_batch_end(self, *args: Any) -> None:
        self.hooks.append("on_train_batch_end")


def fit(*callbacks: Callback, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", max_steps=2, limit_val_batches=0, callbacks=list(callbacks), **quiet, **options
    )
    data = Toy2D(train_size=256, validation_size=64, global_batch_size=64)
    trainer.fit(FlowMatching(MLP((2,), width=8)), datamodule=data)
    return trainer


def test_lightning_enters_the_hooks_that_a_callback_defines_or_inherits_and_no_others() -> None:
    recorder = Further()
    trainer = fit(recorder)
    assert recorder.hooks == ["on_train_start", *2 * ["on_before_backward", "on_train_batch_end"]]
    assert isinstance(trainer.profiler, NullProfiler)
    assert all(hasattr(Callback, name) for name in STEP_HOOKS), "a hook that Lightning does not have"


def test_a_profiler_of_the_users_choice_measures() -> None:
    trainer = fit(profiler=SimpleProfiler())
    assert isinstance(trainer.profiler, SimpleProfiler)
    assert any("training_step" in name for name in trainer.profiler.recorded_durations)


def parameters(gradients: list[Tensor]) -> list[Tensor]:
    """As many parameters with these gradients, and one without."""
    result = [torch.zeros_like(gradient, requires_grad=True) for gradient in gradients]
    for parameter, gradient in zip(result, gradients):
        parameter.grad = gradient.clone()
    return [*result, torch.zeros(3, requires_grad=True)]


@pytest.mark.parametrize("norm", [0.0, 0.3, 1 - 1e-6, 1 - 2e-7, 1.0, 1 + 1e-6, 1.5, 40.0, math.inf])
def test_gradients_end_as_torch_clips_them(norm: float) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(5, 7, generator=generator), torch.randn(11, generator=generator)]
    size = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    ours, theirs = (parameters([gradient * (norm / size) for gradient in gradients]) for _ in range(2))
    clip_norm(ours, 1.0)
    clip_grad_norm_(theirs, 1.0)
    for mine, their in zip(ours[:2], theirs[:2]):
        assert mine.grad is not None
        assert their.grad is not None
        assert torch.equal(mine.grad.nan_to_num(7), their.grad.nan_to_num(7))
    assert ours[2].grad is None


def test_one_gradient_that_is_no_number_spoils_all_as_in_torch() -> None:
    ours = parameters([torch.ones(3), torch.tensor([0.1, math.nan])])
    clip_norm(ours, 1.0)
    assert all(parameter.grad.isnan().all() for parameter in ours[:2] if parameter.grad is not None)


def test_nothing_is_written_where_nothing_is_clipped() -> None:
    ours = parameters([torch.full((4,), 0.1)])
    assert ours[0].grad is not None
    version = ours[0].grad._version
    clip_norm(ours, 1.0)
    assert ours[0].grad._version == version
    clip_norm(ours, 0.1)
    assert ours[0].grad._version > version
