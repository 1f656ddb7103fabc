"""What every network promises, whatever it is made of."""

import pytest
import torch

from fmlab.errors import UserError
from fmlab.networks import MLP, DiT, PlainMLP, ResidualMLP, UNet

CLASSES = 5
BUILDERS = {
    "dit": lambda **kw: DiT((3, 8, 12), CLASSES, patch_size=2, width=32, depth=2, heads=2, **kw),
    "unet": lambda **kw: UNet((3, 8, 12), CLASSES, channels=16, channel_mult=(1, 2), attention_resolutions=(12,), **kw),
    "unet_patch": lambda **kw: UNet((1, 8, 8), CLASSES, channels=16, channel_mult=(1, 2), patch_size=2, **kw),
    "mlp": lambda **kw: MLP((2,), CLASSES, width=32, **kw),
    "plain_mlp": lambda **kw: PlainMLP((2,), CLASSES, width=32, **kw),
    "residual_mlp": lambda **kw: ResidualMLP((2,), CLASSES, width=32, **kw),
    "mlp_image": lambda **kw: MLP((1, 4, 4), CLASSES, width=32, **kw),
}
pytestmark = pytest.mark.parametrize("name", BUILDERS)


def build(name, **kw):
    torch.manual_seed(0)
    return BUILDERS[name](**kw)


def stirred(name, **kw):
    """A network moved off its zero start, as training would move it."""
    network = build(name, **kw)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def batch(network, size=4):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(size, *network.shape, generator=generator), torch.linspace(0, 1, size)


def test_output_is_zero_at_the_start_and_of_the_shape_of_x(name):
    network = build(name)
    x, t = batch(network)
    output = network(x, t, torch.tensor([0, 1, 4, 5]))
    assert output.shape == x.shape
    assert output.count_nonzero() == 0


def test_two_outputs_are_two_heads_on_one_trunk(name):
    network = stirred(name, outputs=2)
    x, t = batch(network)
    output = network(x, t, torch.tensor([0, 1, 4, 5]))
    assert output.shape == (4, 2, *x.shape[1:])
    assert (output[:, 0] - output[:, 1]).abs().max() > 1e-3
    one, two = (sum(p.numel() for p in build(name, outputs=n).parameters()) for n in (1, 2))
    assert one < two < 1.5 * one, "the trunk is shared"


def test_states_its_shape_and_classes(name):
    network = build(name)
    assert isinstance(network.shape, tuple)
    assert network.num_classes == CLASSES


def test_no_condition_is_the_null_label(name):
    network = stirred(name)
    x, t = batch(network)
    assert torch.equal(network(x, t), network(x, t, torch.full((4,), CLASSES)))


def test_every_label_and_the_null_give_outputs_of_their_own(name):
    network = stirred(name)
    x, t = batch(network, 1)
    outputs = torch.cat([network(x, t, torch.tensor([label])) for label in range(CLASSES + 1)]).flatten(1)
    assert torch.pdist(outputs).min() > 1e-3


def test_time_changes_the_output(name):
    network = stirred(name)
    x, _ = batch(network, 1)
    assert (network(x, torch.tensor([0.2])) - network(x, torch.tensor([0.8]))).abs().max() > 1e-3


def test_samples_do_not_see_each_other(name):
    network = stirred(name)
    x, t = batch(network)
    labels = torch.tensor([0, 3, 5, 1])
    together = network(x, t, labels)
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], labels[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_every_parameter_learns_once_off_the_zero_start(name):
    network = build(name).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x, t = batch(network, 6)
    target = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0, 1, 2, 3, 4, 5])
    for _ in range(4):
        optimizer.zero_grad()
        (network(x, t, labels) - target).square().mean().backward()
        optimizer.step()
    untrained = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert untrained == []


def test_labels_without_classes_are_refused(name):
    network = build(name)
    shape = network.shape
    small = {"channels": 16, "channel_mult": (1,)} if isinstance(network, UNet) else {"width": 32, "depth": 1}
    plain = type(network)(shape, **small, **({"heads": 2} if isinstance(network, DiT) else {}))
    x, t = batch(network)
    assert plain(x, t).shape == x.shape
    assert not any(key.startswith("y_embedder") for key in plain.state_dict())
    with pytest.raises(UserError, match="labels"):
        plain(x, t, torch.zeros(4, dtype=torch.int64))


def test_bf16_autocast_stays_close_to_float32(name):
    network = stirred(name)
    x, t = batch(network)
    exact = network(x, t)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, t)
    assert (rough.float() - exact).norm() < 0.05 * exact.norm()


def test_weights_go_round_through_a_state_dict(name):
    network, other = stirred(name), build(name).eval()
    other.load_state_dict(network.state_dict(), strict=True)
    x, t = batch(network)
    assert torch.equal(other(x, t), network(x, t))


def test_a_vector_condition_changes_the_output_and_none_is_its_null(name):
    network = build(name)
    small = {"channels": 16, "channel_mult": (1,)} if isinstance(network, UNet) else {"width": 32, "depth": 1}
    heads = {"heads": 2} if isinstance(network, DiT) else {}
    conditioned = type(network)(network.shape, condition_dim=3, **small, **heads).eval()
    assert not any(key.startswith("y_embedder.embedding_table") for key in conditioned.state_dict())
    with torch.no_grad():
        for parameter in conditioned.parameters():
            parameter.add_(
                0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
    x, t = batch(network)
    one, other = (torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in (4, 5))
    assert (conditioned(x, t, one) - conditioned(x, t, other)).abs().max() > 1e-3
    null = conditioned.y_embedder.null_condition
    assert null.shape == (3,)
    assert torch.equal(conditioned(x, t), conditioned(x, t, null.expand(4, -1)))
