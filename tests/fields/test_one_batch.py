"""Both forwards of a guided step as one batch (fact F20)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fmlab.fields import Guidance, LearnedField, guided, learned
from fmlab.networks import MLP, DiT
from fmlab.paths import CondOT, Cosine, EDMPreconditioning, Output
from fmlab.solvers import Heun, UniformGrid


class Counted(nn.Module):
    """A network off its zero start that counts its forwards."""

    def __init__(self, network: nn.Module, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        self.network, self.sizes = network.eval(), []

    @property
    def num_classes(self) -> int | None:
        return self.network.num_classes

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        self.sizes.append(len(x))
        return self.network(x, t, condition)


NETWORKS = {
    "dit": lambda outputs: DiT((1, 4, 4), 5, patch_size=2, width=16, depth=1, heads=2, outputs=outputs),
    "mlp": lambda outputs: MLP((3,), 5, width=16, depth=1, outputs=outputs),
}
PREDICTIONS: list[Output | EDMPreconditioning] = [
    "velocity",
    "noise",
    "data",
    "velocity_and_score",
    EDMPreconditioning(),
]
LABELS = torch.tensor([0, 4, 2, 2])


def points(network: nn.Module) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, *network.network.shape, generator=generator), torch.tensor([0.1, 0.4, 0.6, 0.9])


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
@pytest.mark.parametrize("name", NETWORKS)
def test_one_batch_is_two_forwards(name: str, prediction: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same field to rounding, one call of the network of twice the size, and still two forwards an image."""
    network = Counted(NETWORKS[name](2 if prediction == "velocity_and_score" else 1))
    x, times = points(network)
    field = guided(LearnedField(network, Cosine(), prediction, LABELS), 2.5)
    for t in (times, times[1]):
        results, network.sizes, field.nfe = {}, [], 0
        for size, expected in ((16, [8]), (3, [4, 4])):
            monkeypatch.setattr(learned, "CPU_POINTS", size)
            network.sizes, field.nfe = [], 0
            results[size] = field(x, t)
            assert network.sizes == expected
            assert field.nfe == 2
        for kind in ("velocity", "score"):
            torch.testing.assert_close(results[16].as_kind(kind), results[3].as_kind(kind), rtol=1e-4, atol=1e-5)
        assert torch.equal(results[16].x, x)


def test_a_solve_counts_both_and_runs_half_the_calls() -> None:
    network = Counted(NETWORKS["mlp"](1))
    field = guided(LearnedField(network, CondOT(), "velocity", LABELS), Guidance(2.0, interval=(0.5, 1.0)))
    Heun().solve(field, points(network)[0], UniformGrid()(4, field.path))
    # Heun at 0, .25, .25, .5, .5, .75, .75: the last four lie within.
    assert field.nfe == 3 + 2 * 4
    assert network.sizes == [4] * 3 + [8] * 4


def test_a_null_label_is_the_last_one() -> None:
    """In one batch "no label" is label num_classes, as in training."""
    seen = []

    class Spy(nn.Module):
        num_classes = 5

        def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
            seen.append(condition)
            return x

    guided(LearnedField(Spy(), CondOT(), "velocity", LABELS), 2.0)(torch.randn(4, 3), torch.tensor(0.5))
    (labels,) = seen
    assert labels.tolist() == [0, 4, 2, 2, 5, 5, 5, 5]
    assert labels.dtype == torch.int64


def test_what_cannot_be_one_batch_is_two() -> None:
    """Another network, other weights, a network that does not say how many classes it has, a large batch on a CPU."""
    first, second = Counted(NETWORKS["mlp"](1)), Counted(NETWORKS["mlp"](1), seed=1)
    x, t = points(first)
    field = LearnedField(first, CondOT(), "velocity", LABELS)
    weak = LearnedField(second, field.path, "velocity", LABELS)
    mixed = guided(field, 2.0, weak=weak)
    torch.testing.assert_close(mixed(x, t).velocity, 2 * field(x, t).velocity - weak(x, t).velocity)
    assert (first.sizes, second.sizes) == ([4, 4], [4, 4])

    sizes = []

    def plain(x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        sizes.append(len(x))
        return x

    guided(LearnedField(plain, CondOT(), "velocity", LABELS), 2.0)(x, t)
    assert sizes == [4, 4]
    first.sizes = []
    many = LearnedField(first, CondOT(), "velocity", LABELS.repeat(5))
    guided(many, 2.0)(x.repeat(5, 1), torch.tensor(0.5))
    assert first.sizes == [20, 20]
