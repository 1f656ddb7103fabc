"""What training draws and measures, against its definitions (facts F10, F22, F36, F37)."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.every_path import PATHS
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.networks import MLP, UNet
from fmlab.paths import CondOT, GaussianPath
from fmlab.random import Purpose, keyed_generator
from fmlab.training.generative_module import FlowMatching, GenerativeModule, ScoreMatching
from fmlab.training.module import Batch
from fmlab.training.optimisation import WarmupConstant, WarmupCosine, parameter_groups

KINDS = ("velocity", "score", "noise", "data")


def draws(seed: int = 0) -> Callable[[Purpose], torch.Generator]:
    return lambda purpose: keyed_generator(seed, purpose)


class Oracle(nn.Module):
    """A network that knows the four marginal quantities of N(mean, std^2), written from Bayes' rule."""

    def __init__(self, path: GaussianPath, kind: str, mean: float, std: float) -> None:
        super().__init__()
        self.path, self.kind, self.mean, self.std = path, kind, mean, std

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        x, t = x.double(), t.double()[:, None]
        a, b = self.path.alpha(t), self.path.beta(t)
        centred = (x - a * self.mean) / (a**2 * self.std**2 + b**2)
        data, noise = self.mean + a * self.std**2 * centred, b * centred
        velocity = self.path.alpha_dot(t) * data + self.path.beta_dot(t) * noise
        return {"velocity": velocity, "score": -centred, "noise": noise, "data": data}[self.kind].float()


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_network_has_the_known_loss(kind: str) -> None:
    """F10: min of the conditional loss is E Var(v | x_t) = pi s / 2 for N(0, 1) -> N(m, s^2) on the straight path."""
    module = FlowMatching(Oracle(CondOT(), kind, 2.0, 0.5), prediction=kind)
    data = 2 + 0.5 * torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    losses, t = module.losses(module.network, Batch(data), draws())
    assert losses.mean().item() == pytest.approx(math.pi * 0.5 / 2, rel=0.015)
    assert 0 <= t.min() < 0.02
    assert t.max() > 0.98


@pytest.mark.parametrize("module_class", [FlowMatching, ScoreMatching])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_every_prediction_trains_with_both(module_class: type[GenerativeModule], kind: str, path: Any) -> None:
    """The loss is finite at every drawn time, its gradient reaches the network, and perfect beats zero output."""
    network = MLP((1,), width=8, depth=1)
    module = module_class(network, path=path, prediction=kind)
    data = 2 + 0.5 * torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    losses, _ = module.losses(network, Batch(data), draws())
    assert torch.isfinite(losses).all()
    losses.mean().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert any(g.abs().sum() > 0 for g in gradients)
    assert all(torch.isfinite(g).all() for g in gradients)
    perfect, _ = module.losses(Oracle(path, kind, 2.0, 0.5), Batch(data), draws())
    assert perfect.mean() < losses.mean()


def test_the_first_loss_is_that_of_a_zero_velocity() -> None:
    """F37: with zero output the loss is E |z - eps|^2 = 1 + E |z|^2 a dimension on the straight path."""
    module = FlowMatching(UNet((1, 8, 8), channels=8, channel_mult=(1,), blocks=1, attention_resolutions=()))
    data = torch.rand(4000, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    losses, _ = module.losses(module.network, Batch(data), draws())
    assert losses.mean().item() == pytest.approx(1 + data.square().mean().item(), rel=0.01)


def test_score_matching_measures_the_noise_error() -> None:
    module = ScoreMatching(lambda x, t: torch.zeros_like(x), prediction="noise")  # type: ignore[arg-type]
    losses, _ = module.losses(module.network, Batch(torch.randn(50_000, 1)), draws())
    assert losses.mean().item() == pytest.approx(1.0, abs=0.02)


def test_labels_are_dropped_sample_by_sample() -> None:
    """F22: the share is the probability, and one batch holds both; dropped means the null label."""
    module = FlowMatching(MLP((2,), num_classes=10), num_classes=10, label_dropout=0.3)
    labels = torch.arange(100_000) % 10
    dropped = module.drop_condition(labels, keyed_generator(0))
    null = dropped == 10
    assert null.float().mean().item() == pytest.approx(0.3, abs=3 * math.sqrt(0.3 * 0.7 / 1e5))
    assert (dropped[~null] == labels[~null]).all()
    assert 0 < null[:64].sum() < 64
    module.label_dropout = 0.0
    assert module.drop_condition(labels, keyed_generator(0)) is labels
    assert FlowMatching(MLP((2,))).drop_condition(labels, keyed_generator(0)) is None
    with pytest.raises(UserError, match="label_dropout"):
        FlowMatching(MLP((2,)), label_dropout=1.5)


def test_the_null_embedding_is_trained() -> None:
    network = MLP((2,), num_classes=3, width=8, depth=1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))
    module = FlowMatching(network, num_classes=3, label_dropout=0.5)
    labels = module.drop_condition(torch.arange(64) % 3, keyed_generator(1))
    losses, _ = module.losses(network, Batch(torch.randn(64, 2), labels), draws())
    losses.mean().backward()
    table = next(p for p in network.parameters() if p.shape[0] == 4)
    assert table.grad is not None
    assert (table.grad.abs().sum(1) > 0).all(), "every class and the null row must learn"


class Attached(FlowMatching):
    """A module with a trainer's few facts, for tests of keyed draws."""

    facts = SimpleNamespace(world_size=1, rank=0, step=0)

    @property
    def trainer(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(
            world_size=self.facts.world_size, datamodule=None, accumulate_grad_batches=1, max_steps=10
        )

    @property
    def global_step(self) -> int:
        return self.facts.step

    @property
    def global_rank(self) -> int:
        return self.facts.rank


def test_two_processes_draw_what_two_accumulated_batches_draw() -> None:
    """F36: shard = accumulation index x world size + rank; equal shards give equal losses, different ones do not."""
    torch.manual_seed(0)
    network = MLP((2,), width=16, depth=2)
    data = torch.randn(2, 8, 2)

    def losses(world_size: int, ranks: list[int], step: int) -> list[float]:
        values = []
        for rank in ranks:
            module = Attached(network, seed=3)
            module.facts = SimpleNamespace(world_size=world_size, rank=rank, step=step)
            batches = [data[rank]] if world_size == 2 else [data[0], data[1]]
            values += [module.training_step(batch, 0).item() for batch in batches]
        return values

    assert losses(2, [0, 1], 5) == losses(1, [0], 5)
    assert losses(2, [0, 1], 5) != losses(2, [0, 1], 6)
    module = Attached(network, seed=3)
    module.facts = SimpleNamespace(world_size=1, rank=0, step=5)
    same = [module.training_step(data[0], 0).item() for _ in range(2)]
    assert same[0] != same[1], "two accumulated batches must not share their noise"


def test_dropout_is_keyed_by_the_step() -> None:
    seen: list[Tensor] = []

    class Drawing(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append(torch.rand(3))
            return x

    for step in (4, 4, 5):
        module = Attached(Drawing(), seed=1)
        module.facts = SimpleNamespace(world_size=1, rank=0, step=step)
        module.training_step(torch.randn(2, 2), 0)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_learning_rate_schedules() -> None:
    def rates(make: Callable[[torch.optim.Optimizer], Any], steps: int) -> list[float]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
        schedule = make(optimizer)
        values = []
        for _ in range(steps):
            values.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return values

    assert rates(lambda o: WarmupConstant(o, 4), 6) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    cosine = rates(lambda o: WarmupCosine(o, total_steps=10, warmup_steps=2, final=0.1), 11)
    assert cosine[:2] == pytest.approx([1.0, 2.0])
    assert cosine[6] == pytest.approx(2 * (0.1 + 0.9 / 2))  # half-way down
    assert cosine[10] == pytest.approx(0.2)
    no_longer = rates(lambda o: WarmupCosine(o, total_steps=2, warmup_steps=2, final=0.1), 3)
    assert no_longer == pytest.approx([1.0, 2.0, 2.0])
    with pytest.raises(UserError, match="total_steps"):
        rates(lambda o: WarmupCosine(o, total_steps=-1), 1)


def test_compiling_changes_neither_parameters_nor_their_names() -> None:
    plain = FlowMatching(MLP((2,), width=8, depth=1))
    compiled = FlowMatching(MLP((2,), width=8, depth=1), compile=True)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    plain.load_state_dict(compiled.state_dict())


def test_weight_decay_acts_on_all_parameters_or_on_matrices_alone() -> None:
    network = UNet((1, 8, 8), 3, channels=8, channel_mult=(1,), blocks=1, attention_resolutions=())
    assert list(parameter_groups(network)) == list(network.parameters()), "one flat list by default"
    module = FlowMatching(
        network,
        num_classes=3,
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5),
        weight_decay_on="matrices",
    )
    optimizer = module.configure_optimizers()
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0.5 for p in group["params"]}
    free = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0.0 for p in group["params"]}
    assert not decayed & free
    assert decayed | free == {id(p) for p in network.parameters()}
    for name, parameter in network.named_parameters():
        is_matrix = name.endswith("weight") and parameter.ndim > 1 and "embedding_table" not in name
        assert (id(parameter) in decayed) == is_matrix, name
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer.step()
    for name, parameter in network.named_parameters():
        factor = 1 - 0.1 * 0.5 if id(parameter) in decayed else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name])
    with pytest.raises(UserError, match="matrices"):
        parameter_groups(network, "biases")  # type: ignore[arg-type]
