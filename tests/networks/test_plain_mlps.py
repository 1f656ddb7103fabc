"""The networks of the published 2-D tables: a plain perceptron, and residual blocks with a vector condition."""

from __future__ import annotations

import pytest
import torch

from fmlab.errors import UserError
from fmlab.networks import PlainMLP, ResidualMLP, describe


def test_parameters_and_work_follow_the_closed_formulas() -> None:
    parameters, flops = describe(PlainMLP((2, 3), 4, width=16, depth=3, outputs=2))
    linear = [(7, 16), (16, 16), (16, 16), (16, 12)]
    assert parameters == sum(i * o + o for i, o in linear) + 5 * 16
    assert flops == 2 * sum(i * o for i, o in linear)
    parameters, flops = describe(ResidualMLP((2,), 4, width=16, depth=2, expansion=3))
    linear = [(2, 16), (1, 16), *[(16, 48), (48, 16)] * 2, (16, 2)]
    assert parameters == sum(i * o + o for i, o in linear) + 5 * 16
    assert flops == 2 * sum(i * o for i, o in linear)


def test_time_stands_beside_the_event() -> None:
    """With one hidden layer it is W' selu(W [x, t] + b) + b'."""
    torch.manual_seed(0)
    network = PlainMLP((2,), width=8, depth=1)
    torch.nn.init.normal_(network.rest[-1].weight)
    x, t = torch.randn(5, 2), torch.rand(5)
    by_hand = torch.nn.functional.selu(torch.cat([x, t[:, None]], 1) @ network.first.weight.T + network.first.bias)
    torch.testing.assert_close(network(x, t), by_hand @ network.rest[-1].weight.T)


def test_a_vector_condition_is_added_linearly() -> None:
    """Without the blocks' outputs the network is affine in the event, the time and the condition."""
    torch.manual_seed(0)
    network = ResidualMLP((2,), condition_dim=3, width=8, depth=2)
    torch.nn.init.normal_(network.last.weight)
    x, t, y = torch.randn(5, 2), torch.rand(5), torch.randn(5, 3)
    with_blocks = network(x, t, y)
    for block in network.blocks:
        torch.nn.init.zeros_(block[-1].weight)
        torch.nn.init.zeros_(block[-1].bias)
    assert (network(x, t, y) - with_blocks).abs().max() > 1e-3
    assert network.y_embedder is not None
    change = network(x, t, y) - network(x, t)
    torch.testing.assert_close(change, y @ network.y_embedder.projection.weight.T @ network.last.weight.T)
    assert (change[1:] - change[:-1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["SELU", "SiLU", "GELU", "ReLU", "Tanh"])
def test_activations_are_torchs(name) -> None:
    assert type(PlainMLP((2,), activation=name).rest[0]) is getattr(torch.nn, name)


def test_what_cannot_be_is_refused() -> None:
    for network in (PlainMLP, ResidualMLP):
        for name in ("width", "depth", "outputs"):
            with pytest.raises(UserError) as caught:
                network((2,), **{name: 0})
            assert caught.value.key == f"model.network.{name}"
    with pytest.raises(UserError, match="a label or a vector"):
        ResidualMLP((2,), num_classes=2, condition_dim=1)
    with pytest.raises(UserError, match="vectors"):
        ResidualMLP((2,))(torch.randn(4, 2), torch.rand(4), torch.randn(4, 1))
