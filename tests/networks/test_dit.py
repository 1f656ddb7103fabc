"""The DiT against its paper: names, counts, work, and the identity at the start."""

import pytest
import torch

from fmlab.errors import UserError
from fmlab.networks import DiT, describe
from fmlab.networks.dit import SIZES, Block, position_table


def tiny(shape=(3, 8, 12), **kw):
    torch.manual_seed(0)
    return DiT(shape, **{"num_classes": 3, "patch_size": 2, "width": 32, "depth": 2, "heads": 2, **kw})


def on_meta(size, patch_size=2):
    with torch.device("meta"):
        return DiT((4, 32, 32), 1000, size=size, patch_size=patch_size)


def closed_formula(width, depth, patch_size=2, channels=4, classes=1000):
    """The count of parameters, written out layer by layer."""
    patch = patch_size**2 * channels
    block = (4 * width**2 + 4 * width) + (8 * width**2 + 5 * width) + (6 * width**2 + 6 * width)
    embedders = (patch * width + width) + (256 * width + width + width**2 + width) + (classes + 1) * width
    return embedders + depth * block + (2 * width**2 + 2 * width) + (width * patch + patch)


# Parameters in millions and multiply-adds in units of 10^9 (Peebles and Xie, 2023; patch 2, latents of 32 x 32 x 4).
PUBLISHED = {"S": (33, 6.06), "B": (130, 23.01), "L": (458, 80.71), "XL": (675, 118.64)}


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes_have_the_published_parameters_and_work(size):
    parameters, flops = describe(on_meta(size))
    assert parameters == closed_formula(*SIZES[size][:2])
    assert round(parameters / 1e6) == PUBLISHED[size][0]
    assert flops / 2e9 == pytest.approx(PUBLISHED[size][1], rel=2e-3)


def test_patches_of_8_do_a_sixteenth_of_the_tokens():
    assert describe(on_meta("B", 8)).flops / 2e9 == pytest.approx(1.42, rel=0.01)  # the paper's B/8


def test_names_are_those_of_the_published_checkpoints():
    keys = set(tiny().state_dict())
    modules = ["x_embedder.proj", "t_embedder.mlp.0", "t_embedder.mlp.2", "final_layer.linear"]
    modules += ["final_layer.adaLN_modulation.1"]
    for n in range(2):
        modules += [f"blocks.{n}.{part}" for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]
        modules += [f"blocks.{n}.adaLN_modulation.1"]
    expected = {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    assert keys == expected | {"y_embedder.embedding_table.weight", "pos_embed"}


def test_a_fresh_block_is_the_identity():
    network = tiny()
    tokens, embedding = torch.randn(2, 5, 32), torch.randn(2, 32)
    for block in network.blocks:
        assert isinstance(block, Block)
        assert torch.equal(block(tokens, embedding), tokens)


def test_positions_are_told_apart_by_column_then_row():
    table = position_table(3, 4, 16).view(3, 4, 16)
    assert torch.pdist(table.view(12, 16)).min() > 0.5
    assert torch.equal(table[0, :, :8], table[2, :, :8])  # the first half is the column's alone
    assert torch.equal(table[:, 0, 8:], table[:, 3, 8:])  # the second half is the row's alone
    assert torch.allclose(table[1, 0, 8:12], torch.sin(10000.0 ** (-torch.arange(4) / 4)))
    assert torch.allclose(table.norm(dim=-1), torch.tensor(8.0).sqrt())


def test_the_position_table_is_fixed_but_saved():
    network = tiny()
    assert "pos_embed" not in dict(network.named_parameters())
    assert torch.equal(network.state_dict()["pos_embed"][0], position_table(4, 6, 32))


def test_equal_patches_at_different_places_give_different_outputs():
    network = tiny()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        output = network(torch.ones(1, 3, 8, 12), torch.tensor([0.5]))
    patches = output.view(3, 4, 2, 6, 2).permute(1, 3, 0, 2, 4).reshape(24, 12)
    assert torch.pdist(patches).min() > 1e-3


def test_norms_are_the_papers():
    norms = [module for module in tiny().modules() if isinstance(module, torch.nn.LayerNorm)]
    assert [(norm.eps, norm.elementwise_affine) for norm in norms] == [(1e-6, False)] * 5


def test_patches_return_to_where_they_came_from():
    network = tiny()
    x = torch.arange(2 * 3 * 8 * 12.0).view(2, 3, 8, 12)
    patches = x.view(2, 3, 4, 2, 6, 2).permute(0, 2, 4, 3, 5, 1).reshape(2, 24, 12)
    assert torch.equal(network._image(patches), x)


def test_an_output_pixel_depends_on_distant_input():
    network = tiny()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.zeros(1, 3, 8, 12, requires_grad=True)
    network(x, torch.tensor([0.5]))[0, 0, 0, 0].backward()
    assert x.grad[0, :, -1, -1].abs().min() > 0


def test_initial_weights_are_the_papers():
    network = tiny(width=256, heads=4, num_classes=50)
    for layer in (network.t_embedder.mlp[0], network.t_embedder.mlp[2], network.y_embedder.embedding_table):
        assert layer.weight.detach().std() == pytest.approx(0.02, rel=0.05)
    for layer, inputs, outputs in (
        (network.blocks[0].mlp.fc1, 256, 1024),
        (network.blocks[1].attn.qkv, 256, 768),
        (network.x_embedder.proj, 12, 256),
    ):
        assert layer.weight.abs().max() <= (6 / (inputs + outputs)) ** 0.5
        assert layer.weight.detach().std() == pytest.approx((2 / (inputs + outputs)) ** 0.5, rel=0.05)
        assert layer.bias.count_nonzero() == 0


def test_a_patch_that_does_not_divide_is_answered_with_those_that_do():
    with pytest.raises(UserError) as caught:
        DiT((1, 28, 12), patch_size=8)
    assert caught.value.key == "model.network.patch_size"
    assert str(caught.value).splitlines()[0].endswith("a patch of 8 does not divide an image of 28 x 12")
    assert caught.value.hint == "these do: 1, 2, 4"


@pytest.mark.parametrize(
    ("arguments", "key", "hint"),
    [
        ({"width": 50, "heads": 6}, "model.network.width", "the nearest that is: 48"),
        ({"width": 2, "heads": 1}, "model.network.width", "the nearest that is: 4"),
        ({"heads": 0}, "model.network.heads", None),
        ({"patch_size": 0}, "model.network.patch_size", None),
        ({"size": "xl"}, "model.network.size", "did you mean XL"),
    ],
)
def test_impossible_arguments_name_their_key(arguments, key, hint):
    with pytest.raises(UserError) as caught:
        DiT((1, 8, 8), **arguments)
    assert caught.value.key == key
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize("shape", [(1, 8, 12), (1, 12, 8)])
def test_a_patch_must_divide_height_and_width(shape):
    with pytest.raises(UserError, match="does not divide"):
        DiT(shape, patch_size=8)


def test_vectors_are_refused():
    with pytest.raises(UserError, match="images"):
        DiT((2,))


def test_dropout_acts_in_training_alone_and_repeats_with_the_generator():
    network = tiny(dropout=0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, t = torch.randn(2, *network.shape), torch.rand(2)
    network.eval()
    assert torch.equal(network(x, t), network(x, t))
    network.train()
    torch.manual_seed(7)
    first = network(x, t)
    assert not torch.equal(first, network(x, t))
    torch.manual_seed(7)
    assert torch.equal(first, network(x, t))


def test_dropout_sits_after_attention_and_in_the_perceptron():
    rates = {
        name: module.p for name, module in tiny(dropout=0.3).named_modules() if isinstance(module, torch.nn.Dropout)
    }
    active = sorted(name for name, rate in rates.items() if rate == 0.3 and name.startswith("blocks.0"))
    assert active == ["blocks.0.attn.proj_drop", "blocks.0.mlp.drop1", "blocks.0.mlp.drop2"]
