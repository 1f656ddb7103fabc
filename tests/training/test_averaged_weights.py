"""Averaged weights against their recursion, and in checkpoints written at awkward moments (fact F30)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from fmlab.data import Toy2D
from fmlab.errors import UserError
from fmlab.networks import MLP
from fmlab.training.averaged_weights import AveragedWeights
from fmlab.training.generative_module import FlowMatching


class Holder:
    """What the callback needs of a module."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.averaged: dict[str, nn.Module] = {}


def test_a_constant_decay_weighs_steps_geometrically() -> None:
    """After n steps the weight of step k is (1 - d) d^(n - k), and d^n of the start."""
    holder = Holder(nn.Linear(1, 1, bias=False))
    average = AveragedWeights(decay=[0.9, 0.5], warmup=False)
    with torch.no_grad():
        holder.network.weight.fill_(7.0)
        average.prepare(holder)
        values = torch.randn(20)
        for value in values:
            holder.network.weight.fill_(value)
            average.update()
    for decay in (0.9, 0.5):
        expected = 7 * decay**20 + sum((1 - decay) * decay ** (20 - k) * v for k, v in enumerate(values.tolist(), 1))
        assert holder.averaged[str(decay)].weight.item() == pytest.approx(expected, abs=1e-5)


def test_warm_up_is_the_published_ramp() -> None:
    average = AveragedWeights(decay=0.99)
    assert [average.decay_at(0.99, n) for n in (1, 10, 90)] == pytest.approx([2 / 11, 11 / 20, 91 / 100])
    assert average.decay_at(0.99, 10**6) == 0.99
    with pytest.raises(UserError, match="decay"):
        AveragedWeights(decay=1.0)
    with pytest.raises(UserError, match="differ"):
        AveragedWeights(decay=[0.9, 0.9])


class SaveInValidation(Callback):
    """Writes a checkpoint from the middle of a validation, then breaks it."""

    def __init__(self, file: Path, fails: bool) -> None:
        self.file, self.fails = file, fails
        self.raw: dict[str, torch.Tensor] = {}
        self.loss_network: Any = None

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.raw = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.loss_network = pl_module.evaluation_network
        trainer.save_checkpoint(self.file)
        if self.fails:
            raise RuntimeError("in the middle of a validation")


def trainer_of(folder: Path, *callbacks: Callback) -> Trainer:
    return Trainer(
        max_steps=6,
        val_check_interval=3,
        check_val_every_n_epoch=None,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        default_root_dir=str(folder),
    )


@pytest.mark.parametrize("fails", [False, True], ids=["goes on", "fails"])
def test_a_checkpoint_from_the_middle_of_a_validation_is_correct(tmp_path: Path, fails: bool) -> None:
    """The trained weights are under `state_dict`, the averages under the callback: never the other way round."""
    torch.manual_seed(0)
    module = FlowMatching(MLP((2,), width=8, depth=1), optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    average, saver = AveragedWeights(decay=0.9), SaveInValidation(tmp_path / "a.ckpt", fails)
    trainer = trainer_of(tmp_path, average, saver)
    if fails:
        with pytest.raises(RuntimeError, match="middle"):
            trainer.fit(module, datamodule=Toy2D(train_size=64, validation_size=8, global_batch_size=8))
    else:
        trainer.fit(module, datamodule=Toy2D(train_size=64, validation_size=8, global_batch_size=8))
    state = torch.load(tmp_path / "a.ckpt", weights_only=True)
    averages = state["callbacks"]["AveragedWeights"]["averages"]["0.9"]
    different = False
    for name, value in state["state_dict"].items():
        assert torch.equal(value, saver.raw[name]), "the trained weights"
        different |= not torch.equal(value, averages[name.removeprefix("network.")])
    assert different, "the averages are not the trained weights"
    assert saver.loss_network is average.networks["0.9"], "validation measures the averaged network"
    for name, value in module.state_dict().items():
        if fails:
            assert torch.equal(value, saver.raw[name]), "after the exception the live network is the trained one"


def test_a_checkpoint_without_the_wanted_average_is_refused() -> None:
    average = AveragedWeights(decay=0.99)
    with pytest.raises(UserError, match=r"no average of decay 0\.99"):
        average.load_state_dict({"step": 3, "averages": {"0.9": {}}})


def test_buffers_are_copied_not_averaged() -> None:
    holder = Holder(nn.BatchNorm1d(2))
    average = AveragedWeights(decay=0.9)
    average.prepare(holder)
    holder.network.running_mean.fill_(3.0)
    average.prepare(holder)
    assert holder.averaged["0.9"].running_mean.tolist() == [3.0, 3.0]
