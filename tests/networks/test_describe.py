"""Counting parameters and work, for our networks and anyone's."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fmlab.errors import UserError
from fmlab.networks import MLP, DiT, describe


class Foreign(nn.Module):
    """A module that knows nothing of fmlab, with attention, a buffer and a frozen part."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(8, 8, bias=False)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.norm = nn.BatchNorm1d(5)
        self.seen = []

    def forward(self, x, t, condition=None):
        self.seen.append((tuple(x.shape), t.dtype, condition, self.training))
        q = self.project(self.norm(x))[:, None]
        return functional.scaled_dot_product_attention(q, q, q)[:, 0]


def test_a_foreign_module_is_counted_with_its_fused_attention():
    network = Foreign()
    parameters, flops = describe(network, shape=(5, 8))
    assert parameters == 64 + 10
    assert flops == 2 * 5 * 8 * 8 + 2 * (2 * 5 * 5 * 8)
    assert network.seen == [((1, 5, 8), torch.float32, None, False)]


def test_nothing_of_the_network_changes():
    network = Foreign().train()
    network.norm.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    describe(network, shape=(5, 8))
    assert network.training
    assert not network.norm.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_modes_are_restored_after_a_failure():
    network = Foreign().train()
    with pytest.raises(RuntimeError):
        describe(network, shape=(4, 8))
    assert network.training


def test_classes_given_reach_a_foreign_module_as_a_label():
    network = Foreign()
    describe(network, shape=(5, 8), num_classes=3)
    assert network.seen[0][2].tolist() == [0]


def test_a_shape_that_nobody_states_is_asked_for():
    with pytest.raises(UserError, match="Foreign"):
        describe(Foreign())


def test_a_module_without_parameters_is_described():
    class Nothing(nn.Module):
        def forward(self, x, t, condition=None):
            return x

    assert describe(Nothing(), shape=(2,)) == (0, 0)


def test_meta_device_and_real_device_agree():
    def build():
        return DiT((1, 8, 8), 10, width=32, depth=1, heads=2)

    with torch.device("meta"):
        meta = build()
    assert describe(meta) == describe(build())


@pytest.mark.filterwarnings("error")
def test_a_compiled_network_is_counted_without_being_compiled():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    network = MLP((2,))
    assert describe(torch.compile(network, backend=backend)) == describe(network)
    assert compiled == []
