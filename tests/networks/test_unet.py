"""The U-Net against the published ones, and what shapes it takes."""

import pytest
import torch

from fmlab.errors import UserError
from fmlab.networks import UNet, describe
from fmlab.networks.unet import Block, SelfAttention, group_norm


def tiny(shape=(1, 8, 8), **kw):
    torch.manual_seed(0)
    return UNet(shape, **{"channels": 16, "channel_mult": (1, 2), "attention_resolutions": (), **kw})


# Counted once in the networks of openai/improved-diffusion and of torchcfm 1.0.7 (both MIT) with scale-shift norms and
# three output channels.
PUBLISHED = {
    "improved diffusion": ({"blocks": 3, "attention_resolutions": (16, 8)}, 52_542_979),
    "torchcfm": ({"head_dim": 64, "dropout": 0.1}, 38_307_203),
    "flow_matching": ({"channel_mult": (2, 2, 2), "blocks": 4, "dropout": 0.3}, 58_036_739),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cifar_networks_have_the_published_parameters(name):
    arguments, parameters = PUBLISHED[name]
    with torch.device("meta"):
        network = UNet((3, 32, 32), **arguments)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def attending(network):
    return sum(isinstance(module, SelfAttention) for module in network.modules())


def test_attention_sits_at_the_asked_resolutions_and_in_the_middle():
    with torch.device("meta"):
        assert attending(UNet((3, 32, 32), attention_resolutions=())) == 1
        assert attending(UNet((3, 32, 32), attention_resolutions=(16,))) == 1 + 2 + 3
        assert attending(UNet((3, 32, 32), attention_resolutions=(16, 8))) == 1 + 2 * (2 + 3)
        assert attending(UNet((3, 16, 32), attention_resolutions=(32,))) == 1 + 2 + 3
        assert attending(UNet((3, 32, 16), attention_resolutions=(2,))) == 1
        assert attending(UNet((3, 32, 32), attention_resolutions=(2,), patch_size=2)) == 1 + 2 + 3
        assert attending(UNet((3, 32, 32), attention_resolutions=(32,), patch_size=2)) == 1


def test_heads_are_as_wide_as_asked_and_one_by_default():
    assert SelfAttention(64, 16).heads == 4
    assert SelfAttention(64, None).heads == 1


@pytest.mark.parametrize("attention", [True, False])
def test_a_fresh_block_is_the_identity(attention):
    block = Block(16, 16, 8, 0.0, attention, None)
    x = torch.randn(2, 16, 4, 6)
    assert torch.equal(block(x, torch.randn(2, 8)), x)


def test_attention_mixes_places_as_the_formula_says():
    torch.manual_seed(0)
    layer = SelfAttention(8, 4)
    torch.nn.init.normal_(layer.proj.weight)
    x = torch.randn(1, 8, 2, 3)
    tokens = layer.norm(x)[0].flatten(1).T
    query, key, value = (part.view(6, 2, 4) for part in layer.qkv(tokens).chunk(3, dim=1))
    weights = torch.einsum("ihd,jhd->hij", query, key).div(2.0).softmax(dim=-1)
    mixed = layer.proj(torch.einsum("hij,jhd->ihd", weights, value).reshape(6, 8))
    assert torch.allclose(layer(x), x + mixed.T.view(1, 8, 2, 3), atol=1e-5)


def test_the_embedding_scales_and_shifts_the_norm():
    block = Block(8, 8, 4, 0.0, False, None)
    torch.nn.init.dirac_(block.conv2.weight)
    with torch.no_grad():
        block.modulation[1].weight.zero_()
        block.modulation[1].bias.copy_(torch.tensor([-1.0] * 8 + [2.0] * 8))  # scale to nothing, shift to 2
    x = torch.randn(1, 8, 4, 4)
    assert torch.allclose(block(x, torch.zeros(1, 4)), x + 2.0 / (1.0 + torch.exp(torch.tensor(-2.0))), atol=1e-6)


@pytest.mark.parametrize(("channels", "groups"), [(128, 32), (256, 32), (96, 24), (48, 12), (16, 4), (3, 1), (20, 5)])
def test_groups_hold_four_channels_up_to_32_groups(channels, groups):
    assert group_norm(channels).num_groups == groups


def test_patches_save_work_and_keep_the_shape():
    network = tiny((3, 16, 16), patch_size=2)
    assert describe(network).flops < describe(tiny((3, 16, 16))).flops / 3
    assert network(torch.randn(2, 3, 16, 16), torch.rand(2)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 4, 20), (1, 12, 8)])
def test_sizes_that_halve_once_are_fine(shape):
    assert tiny(shape)(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


@pytest.mark.parametrize(("shape", "odd"), [((1, 16, 12), "4 x 3"), ((1, 12, 16), "3 x 4")])
def test_height_and_width_must_both_halve(shape, odd):
    with pytest.raises(UserError, match=f"{odd} cannot be halved"):
        UNet(shape)


def test_a_size_that_cannot_be_halved_is_named():
    with pytest.raises(UserError) as caught:
        UNet((1, 28, 28))
    assert caught.value.key == "model.network.channel_mult"
    assert "7 x 7 cannot be halved" in caught.value.message
    assert caught.value.hint == "give at most 3 levels"


@pytest.mark.parametrize(
    ("shape", "arguments", "key"),
    [
        ((1, 28, 28), {"patch_size": 3}, "model.network.patch_size"),
        ((1, 8, 8), {"head_dim": 5}, "model.network.head_dim"),
        ((1, 8, 8), {"channel_mult": ()}, "model.network.channel_mult"),
        ((1, 8, 8), {"channels": 0}, "model.network.channels"),
        ((2,), {}, "model.network"),
    ],
)
def test_impossible_arguments_name_their_key(shape, arguments, key):
    with pytest.raises(UserError) as caught:
        tiny(shape, **arguments)
    assert caught.value.key == key


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
