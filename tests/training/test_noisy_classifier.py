"""A classifier of noisy points learns the posterior at every t, and guides with it (fact F39)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fmlab.distributions import GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import ExactField, LearnedClassifier, guided
from fmlab.networks import MLP, ClassifierHead, DiT, UNet, describe
from fmlab.paths import VP, CondOT, GaussianPath, Interpolant
from fmlab.random import Purpose, fixed_generator
from fmlab.training.classifier import NoisyClassifier
from fmlab.training.module import Batch

LAW = GaussianMixture([0.3, 0.7], [[1.0, 0.5], [-1.0, 0.0]], [[[0.1, 0.0], [0.0, 0.2]], [[0.2, 0.0], [0.0, 0.1]]])


def small(shape: tuple[int, ...] = (2,), classes: int = 2, width: int = 32) -> ClassifierHead:
    torch.manual_seed(0)
    return ClassifierHead(MLP(shape, width=width, depth=2), shape, classes)


def posterior(x: Tensor, t: float, path: GaussianPath) -> Tensor:
    noisy = LAW.diffused(path.alpha(torch.tensor(t)), path.beta(torch.tensor(t)))
    return noisy.responsibilities(x)


@pytest.mark.parametrize("path", [CondOT(), VP()], ids=repr)
def test_it_learns_the_posterior_at_every_time(path: GaussianPath) -> None:
    """Cross-entropy on x_t is least at p_t(y | x); guided by what it learned, the velocity is nearly the exact one."""
    module = NoisyClassifier(small(), path, num_classes=2)
    optimizer = torch.optim.Adam(module.network.parameters(), lr=3e-3)
    for step in range(400):
        data, labels = LAW.sample_labelled(256, fixed_generator(step))
        losses, t = module.losses(module.network, Batch(data, labels), lambda p, s=step: fixed_generator(s, p))
        assert losses.shape == t.shape == (256,)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    classifier = LearnedClassifier(module.network, path)
    for time in (0.05, 0.3, 0.6, 0.95):
        data, labels = LAW.sample_labelled(500, fixed_generator(1000))
        t = torch.tensor(time)
        x = path.sample(data, torch.randn(data.shape, generator=fixed_generator(1001)), t)
        assert (classifier(x, t).exp() - posterior(x, time, path)).abs().mean() < 0.03
        exact = ExactField(LAW, path, labels)
        free, alone = guided(exact, 2.0)(x, t).velocity, exact.unconditional()(x, t).velocity
        velocity = guided(exact, 2.0, classifier=classifier)(x, t).velocity
        assert (velocity - free).square().mean() < 0.1 * (alone - free).square().mean()


def test_the_first_loss_is_that_of_equal_chances() -> None:
    """What a network of zero output says is the head's bias alone; noise and times are keyed by their purposes."""
    module = NoisyClassifier(small(classes=4), num_classes=4)
    nn.init.zeros_(module.network.head.bias)
    batch = Batch(torch.randn(50, 2), torch.arange(50) % 4)

    def draw(purpose: Purpose) -> torch.Generator:
        return fixed_generator(5, purpose)

    losses, times = module.losses(module.network, batch, draw)
    torch.testing.assert_close(losses, torch.full((50,), 4.0).log())
    assert torch.equal(module.losses(module.network, batch, draw)[1], times)
    assert times.std() > 0.2


@pytest.mark.parametrize(
    "trunk",
    [
        DiT((1, 8, 8), width=16, depth=1, heads=2, outputs=3),
        UNet((1, 8, 8), 10, channels=8, channel_mult=(1, 2), blocks=1),
        MLP((1, 8, 8), 10, width=16),
    ],
    ids=lambda trunk: type(trunk).__name__,
)
def test_any_network_is_a_trunk(trunk: nn.Module) -> None:
    """It sees every output of the trunk, has gradients by x and in all its weights, and states its size."""
    network = ClassifierHead(trunk, (1, 8, 8), 10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    x = torch.randn(4, 1, 8, 8, requires_grad=True)
    for _ in range(4):  # off the zero start
        optimizer.zero_grad()
        logits = network(x, torch.tensor([0.1, 0.4, 0.6, 0.9]))
        assert logits.shape == (4, 10)
        nn.functional.cross_entropy(logits, torch.arange(4)).backward()
        optimizer.step()
    assert x.grad is not None
    assert x.grad.flatten(1).norm(dim=1).min() > 0
    assert [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []
    parameters, flops = describe(network)
    assert parameters == sum(p.numel() for p in network.parameters())
    assert flops > 2 * network.head.weight.numel()
    assert all(p.requires_grad for p in network.parameters()), "describing leaves it trainable"


def test_what_it_cannot_learn_from_is_refused() -> None:
    for classes in (None, 1):
        with pytest.raises(UserError, match="two or more classes") as caught:
            NoisyClassifier(small(), num_classes=classes)
        assert caught.value.key == "model.num_classes"
    with pytest.raises(UserError, match="Gaussian path"):
        NoisyClassifier(small(), Interpolant(), num_classes=2)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="labels"):
        NoisyClassifier(small(), num_classes=2).losses(small(), Batch(torch.randn(4, 2)), lambda p: fixed_generator(p))
