"""The MLP on vectors."""

import pytest
import torch

from fmlab.errors import UserError
from fmlab.networks import MLP, describe
from fmlab.networks.embeddings import add_condition


def test_parameters_and_work_follow_the_closed_formula():
    width, depth, features, classes = 64, 2, 6, 3
    network = MLP((2, 3), classes, width=width, depth=depth)
    linear = [(256, width), (width, width), (features, width), *[(width, width)] * depth, (width, features)]
    parameters, flops = describe(network)
    assert parameters == sum(i * o + o for i, o in linear) + (classes + 1) * width
    assert flops == 2 * sum(i * o for i, o in linear)


def test_hidden_layers_add_to_what_they_are_given():
    torch.manual_seed(0)
    network = MLP((2,), 3, width=16)
    torch.nn.init.normal_(network.last.weight)
    for layer in network.hidden:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x, t = torch.randn(4, 2), torch.rand(4)
    direct = network.last(
        torch.nn.functional.silu(network.first(x) + add_condition(network.t_embedder(t), network.y_embedder, None))
    )
    assert torch.allclose(network(x, t), direct, atol=1e-6)


def test_it_learns_a_rotation_of_the_plane():
    torch.manual_seed(0)
    network = MLP((2,), width=64)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(300):
        x, t = torch.randn(128, 2), torch.rand(128)
        target = torch.stack([t * x[:, 1], -t * x[:, 0]], dim=1)
        loss = (network(x, t) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.03  # zero output has E[t^2] = 1/3


@pytest.mark.parametrize("name", ["width", "depth"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(UserError) as caught:
        MLP((2,), **{name: 0})
    assert caught.value.key == f"model.network.{name}"
