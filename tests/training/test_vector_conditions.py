"""Conditions that are vectors: dropped to the network's own null, learned, guided, and matched."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from fmlab.data import DataModule, TensorSet
from fmlab.errors import UserError
from fmlab.fields import LearnedField
from fmlab.networks import MLP
from fmlab.objectives import ConditionalOT
from fmlab.random import keyed_generator
from fmlab.solvers import Heun, UniformGrid
from fmlab.training import FlowMatching, exact_law


class Moved(DataModule):
    """Points near c in the plane, for a condition c on the unit circle."""

    shape, kind, condition_dim = (2,), "points", 2

    def read(self) -> tuple[TensorSet, TensorSet]:
        return self.draw(4096, 0), self.draw(64, 1)

    def draw(self, size: int, key: int) -> TensorSet:
        generator = keyed_generator(5, key)
        angle = 2 * math.pi * torch.rand(size, generator=generator)
        condition = torch.stack([angle.cos(), angle.sin()], 1)
        return TensorSet(condition + 0.1 * torch.randn(size, 2, generator=generator), condition)


def trained(**options: Any) -> FlowMatching:
    torch.manual_seed(0)
    network = MLP((2,), condition_dim=2, width=64, depth=2)
    module = FlowMatching(network, optimizer=lambda p: torch.optim.AdamW(p, lr=5e-3), **options)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=300,
        max_epochs=-1,
        limit_val_batches=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=Moved(global_batch_size=256))
    return module.eval()


@pytest.mark.parametrize("coupling", [None, ConditionalOT(condition_weight=1.0)], ids=["independent", "C2OT"])
def test_samples_follow_the_vector_and_the_null_is_all_of_them(coupling: ConditionalOT | None) -> None:
    module = trained(coupling=coupling, label_dropout=0.2)
    condition = torch.tensor([[1.0, 0.0]]).repeat(200, 1)
    start = torch.randn(200, 2, generator=keyed_generator(1))

    def solve(condition: Tensor | None, scale: float = 1.0) -> Tensor:
        field = module.field(condition, scale)
        with torch.no_grad():
            return Heun().solve(field, start, UniformGrid()(20, field.path))

    followed, free, guided = solve(condition), solve(None), solve(condition, 2.0)
    assert (followed - condition).norm(dim=1).mean() < 0.35
    assert free.mean(0).norm() < 0.35, "points all round the circle"
    assert free.norm(dim=1).mean() > 0.7
    assert guided[:, 0].mean() > free[:, 0].mean() + 0.5
    assert module.network.null_condition.abs().sum() > 0, "the null vector has learned"


def test_vectors_are_dropped_sample_by_sample_to_the_learned_null() -> None:
    network = MLP((2,), condition_dim=3)
    with torch.no_grad():
        network.null_condition.copy_(torch.tensor([7.0, 8.0, 9.0]))
    module = FlowMatching(network, label_dropout=0.3)
    condition = torch.randn(10_000, 3, generator=keyed_generator(2))
    dropped = module.drop_condition(condition, keyed_generator(0))
    null = (dropped == network.null_condition).all(1)
    assert null.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 10_000))
    assert torch.equal(dropped[~null], condition[~null])
    dropped.sum().backward()
    assert network.null_condition.grad.tolist() == pytest.approx([null.sum().item()] * 3)
    assert FlowMatching(MLP((2,))).drop_condition(condition, keyed_generator(0)) is None


def test_both_fields_of_a_guided_step_go_through_the_network_in_one_batch() -> None:
    network = MLP((2,), condition_dim=2, width=16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=keyed_generator(parameter.numel()))
    path = FlowMatching(network).path
    condition, x, t = torch.randn(4, 2), torch.randn(4, 2), torch.tensor(0.4)
    field = LearnedField(network, path, "velocity", condition)
    both = field.evaluate_both(field.unconditional(), x, t)
    torch.testing.assert_close(both[0].velocity, field(x, t).velocity)
    torch.testing.assert_close(both[1].velocity, field.unconditional()(x, t).velocity)


def test_the_exact_field_of_vector_conditions_is_not_known() -> None:
    module = FlowMatching(MLP((2,), condition_dim=2))
    with pytest.raises(UserError, match="conditions are vectors"):
        exact_law(module, Moved(global_batch_size=8), "floor")
