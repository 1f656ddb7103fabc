"""Models of diffusers as networks: the same forward as theirs, and what every network promises."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.networks import DiffusersDiT, DiffusersNetwork, DiffusersUNet, describe

CLASSES = 4


@pytest.fixture(params=["unet", "dit"])
def kind(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("diffusers")
    return str(request.param)


def build(kind: str, num_classes: int | None = CLASSES, **more: Any) -> DiffusersNetwork:
    torch.manual_seed(0)
    if kind == "unet":
        sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
        return DiffusersUNet((3, 8, 8), num_classes, **sizes, **more)
    sizes = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 8}
    return DiffusersDiT((3, 8, 8), num_classes, **sizes, **more)


def stirred(kind: str, num_classes: int | None = CLASSES, **more: Any) -> DiffusersNetwork:
    """Moved off its zero start."""
    network = build(kind, num_classes, **more)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(4, 3, 8, 8), torch.tensor([0.0, 0.25, 0.5, 0.999]), torch.tensor([0, 3, CLASSES, 1])


def test_the_forward_is_that_of_diffusers(kind: str) -> None:
    """With noise at large step numbers: t = 0 is step 999, the last of a thousand."""
    network = stirred(kind)
    x, t, labels = batch()
    step = torch.tensor([999.0, 749.0, 499.0, 0.0])
    expected = network.model(x, step, class_labels=labels).sample.detach()
    assert torch.allclose(network(x, t, labels), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    assert (expected[0] - network.model(x[:1], torch.tensor([0.0]), class_labels=labels[:1]).sample).abs().max() > 1e-3


def test_it_promises_what_every_network_does(kind: str) -> None:
    x, t, labels = batch()
    fresh = build(kind)(x, t, labels)
    assert fresh.shape == x.shape
    assert fresh.count_nonzero() == 0
    network = stirred(kind)
    assert torch.equal(network(x, t), network(x, t, torch.full((4,), CLASSES))), "no condition is the null label"
    rows = [network(x[:1], t[1:2], torch.tensor([label])).flatten() for label in range(CLASSES + 1)]
    assert torch.pdist(torch.stack(rows)).min() > 1e-4
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], labels[i : i + 1]) for i in range(4)])
    assert torch.allclose(network(x, t, labels), alone, atol=1e-5)
    assert describe(network).flops > describe(network).parameters > 0


def test_labels_are_not_dropped_behind_our_back(kind: str) -> None:
    """In training mode too: dropping labels is the module's business."""
    network = stirred(kind).train()
    x, t, labels = batch()
    x, t, labels = x.repeat(16, 1, 1, 1), t.repeat(16), labels.repeat(16)
    assert torch.equal(network(x, t, labels), network(x, t, labels))


def test_two_heads_and_no_classes(kind: str) -> None:
    x, t, labels = batch()
    network = stirred(kind, num_classes=None, outputs=2)
    assert network(x, t).shape == (4, 2, 3, 8, 8)
    with pytest.raises(UserError, match="without num_classes"):
        network(x, t, labels)


def test_the_time_stays_precise_under_autocast(kind: str) -> None:
    """bfloat16 rounds steps 499 and 500 to one; the network tells them apart."""
    network = stirred(kind)
    x = torch.randn(1, 3, 8, 8).expand(2, -1, -1, -1)
    with torch.autocast("cpu", torch.bfloat16):
        one, other = network(x, torch.tensor([0.500, 0.499]))
    assert (one - other).abs().max() > 0


def test_a_model_made_by_diffusers_is_wrapped() -> None:
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        flip_sin_to_cos=False,
        freq_shift=1,
    ).eval()
    network = DiffusersNetwork(model, (3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x, torch.tensor([0.5, 0.5])), model(x, 499).sample)


def test_impossible_arguments_name_their_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for make, key in (
        (lambda: DiffusersUNet((1, 28, 28), block_out_channels=(32, 32, 32, 32)), "model.network.block_out_channels"),
        (lambda: DiffusersUNet((1, 28, 28), block_out_channels=(20,)), "model.network.norm_num_groups"),
        (lambda: DiffusersDiT((1, 8, 12)), "model.network"),
        (lambda: DiffusersDiT((2,)), "model.network"),
    ):
        with pytest.raises(UserError) as caught:
            make()
        assert caught.value.key == key
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match="diffusers cannot be imported") as caught:
        DiffusersUNet((1, 28, 28))
    assert caught.value.hint == "pip install diffusers"
