"""State dicts of the official DiT and SiT: the network that they make computes what the papers' equations say."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

import fmlab
from fmlab.__main__ import main
from fmlab.errors import UserError
from fmlab.inference.official import load_official_dit
from fmlab.paths import VP

WIDTH, DEPTH, HEADS, SIDE, CHANNELS, PATCH, CLASSES = 24, 2, 3, 8, 4, 2, 5


def official_state(learn_sigma: bool = True) -> dict[str, Tensor]:
    """Random weights under the names and shapes of a published checkpoint."""
    generator = torch.Generator().manual_seed(0)

    def layer(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(math.prod(shape[1:]))

    state = {"pos_embed": layer(1, (SIDE // PATCH) ** 2, WIDTH)}
    state["y_embedder.embedding_table.weight"] = layer(CLASSES + 1, WIDTH)
    outputs = PATCH**2 * CHANNELS * (2 if learn_sigma else 1)
    shapes = {
        "x_embedder.proj": (WIDTH, CHANNELS, PATCH, PATCH),
        "t_embedder.mlp.0": (WIDTH, 256),
        "t_embedder.mlp.2": (WIDTH, WIDTH),
        "final_layer.linear": (outputs, WIDTH),
        "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
    }
    for block in range(DEPTH):
        shapes |= {
            f"blocks.{block}.attn.qkv": (3 * WIDTH, WIDTH),
            f"blocks.{block}.attn.proj": (WIDTH, WIDTH),
            f"blocks.{block}.mlp.fc1": (4 * WIDTH, WIDTH),
            f"blocks.{block}.mlp.fc2": (WIDTH, 4 * WIDTH),
            f"blocks.{block}.adaLN_modulation.1": (6 * WIDTH, WIDTH),
        }
    for name, shape in shapes.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = layer(*shape), layer(shape[0])
    return state


def reference(state: dict[str, Tensor], x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
    """The transformer of the paper's section 3 and figure 3 from its weights, one head and one patch at a time."""

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(value: Tensor) -> Tensor:
        centred = value - value.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    angles = time[:, None] * 10000.0 ** (-torch.arange(128, dtype=torch.float64) / 128)
    embedded = linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()], 1))
    embedded = linear("t_embedder.mlp.2", embedded * embedded.sigmoid())
    embedded = embedded + state["y_embedder.embedding_table.weight"][labels]
    steering = embedded * embedded.sigmoid()

    count = SIDE // PATCH
    corners = [(row * PATCH, column * PATCH) for row in range(count) for column in range(count)]
    kernel = state["x_embedder.proj.weight"].flatten(1)
    patches = [x[:, :, row : row + PATCH, column : column + PATCH].flatten(1) for row, column in corners]
    tokens = torch.stack([patch @ kernel.T + state["x_embedder.proj.bias"] for patch in patches], 1)
    tokens = tokens + state["pos_embed"]

    for block in range(DEPTH):
        steered = linear(f"blocks.{block}.adaLN_modulation.1", steering)[:, None]
        shift1, scale1, gate1, shift2, scale2, gate2 = steered.split(WIDTH, -1)
        query, key, value = linear(f"blocks.{block}.attn.qkv", norm(tokens) * (1 + scale1) + shift1).split(WIDTH, -1)
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = query[..., part] @ key[..., part].mT / math.sqrt(WIDTH // HEADS)
            heads.append(scores.softmax(-1) @ value[..., part])
        tokens = tokens + gate1 * linear(f"blocks.{block}.attn.proj", torch.cat(heads, -1))
        hidden = linear(f"blocks.{block}.mlp.fc1", norm(tokens) * (1 + scale2) + shift2)
        hidden = functional.gelu(hidden, approximate="tanh")
        tokens = tokens + gate2 * linear(f"blocks.{block}.mlp.fc2", hidden)

    shift, scale = linear("final_layer.adaLN_modulation.1", steering)[:, None].split(WIDTH, -1)
    pixels = linear("final_layer.linear", norm(tokens) * (1 + scale) + shift)
    planes = pixels.shape[-1] // PATCH**2
    image = torch.zeros(len(x), planes, SIDE, SIDE, dtype=x.dtype)
    for index, (row, column) in enumerate(corners):
        for pixel in range(PATCH**2):
            image[:, :, row + pixel // PATCH, column + pixel % PATCH] = pixels[
                :, index, pixel * planes : (pixel + 1) * planes
            ]
    return image[:, :CHANNELS]  # what is left are variances


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, CHANNELS, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return x, torch.tensor([0, 4, CLASSES, 2, CLASSES, 1])


@pytest.mark.parametrize("learn_sigma", [True, False])
def test_a_dit_is_the_official_forward_at_its_diffusion_steps(
    tmp_path: Path, inputs: tuple[Tensor, Tensor], learn_sigma: bool
) -> None:
    """Step k of 1000, noisiest at 999, is our t = (999 - k) / 1000; every label and the null row."""
    state = official_state(learn_sigma)
    torch.save(state, tmp_path / "dit.pt")
    network = load_official_dit(tmp_path / "dit.pt", "DiT", heads=HEADS).double()
    x, labels = inputs
    step = torch.tensor([0, 1, 17, 250, 500, 999], dtype=torch.float64)
    expected = reference(state, x, step, labels)
    assert (network(x, (999 - step) / 1000, labels) - expected).abs().max() < 1e-5 * expected.abs().max()
    single = network.float()(x.float(), ((999 - step) / 1000).float(), labels)
    assert (single - expected).abs().max() < 2e-4 * expected.abs().max(), "in float32, times included"


def test_a_sit_is_the_official_forward_at_the_same_time(tmp_path: Path, inputs: tuple[Tensor, Tensor]) -> None:
    """Official SiT sees t in [0, 1] unscaled, with data at t = 1 as here."""
    state = {name: value.float() for name, value in official_state().items()}
    save_file(state, tmp_path / "sit.safetensors")
    network = load_official_dit(tmp_path / "sit.safetensors", "SiT", heads=HEADS)
    x, labels = inputs
    t = torch.linspace(0, 1, 6)
    expected = reference({name: value.double() for name, value in state.items()}, x, t.double(), labels)
    assert (network(x.float(), t, labels) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_the_unconditional_field_is_the_null_row(tmp_path: Path, inputs: tuple[Tensor, Tensor]) -> None:
    torch.save(official_state(), tmp_path / "sit.pt")
    network = load_official_dit(tmp_path / "sit.pt", "SiT", heads=HEADS)
    x, t = inputs[0].float(), torch.full((6,), 0.3)
    assert network.num_classes == CLASSES
    assert torch.equal(network(x, t), network(x, t, torch.full((6,), CLASSES)))


def test_the_path_is_as_noisy_as_the_official_diffusion() -> None:
    """DiT's linear rates from 1e-4 to 0.02: noise over data agrees within 5 % at every one of the 1000 steps."""
    signal = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    t = (999 - torch.arange(1000, dtype=torch.float64)) / 1000
    ratio = VP().beta(t) / VP().alpha(t) / (1 / signal - 1).sqrt()
    assert 0.95 < ratio.min() < ratio.max() < 1.05


def test_a_training_checkpoint_gives_its_averaged_weights(tmp_path: Path, inputs: tuple[Tensor, Tensor]) -> None:
    state = official_state()
    wrong = {name: torch.zeros_like(value) for name, value in state.items()}
    content = {"model": wrong, "ema": state, "opt": {}, "args": argparse.Namespace(image_size=256)}
    torch.save(content, tmp_path / "0400000.pt")
    torch.save(state, tmp_path / "plain.pt")
    networks = [load_official_dit(tmp_path / name, "SiT", heads=HEADS) for name in ("0400000.pt", "plain.pt")]
    outputs = [network(inputs[0].float(), torch.full((6,), 0.5)) for network in networks]
    assert torch.equal(*outputs)


@pytest.mark.parametrize(("convention", "prediction"), [("DiT", "noise"), ("SiT", "velocity")])
def test_imported_weights_sample_like_any_other(
    tmp_path: Path, convention: str, prediction: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(official_state(), tmp_path / "published.pt")
    file = tmp_path / "mine.safetensors"
    argv = ["import", str(tmp_path / "published.pt"), "--as", convention, "--heads", str(HEADS), "--to", str(file)]
    assert main(argv) == 0
    trained = fmlab.load(file)
    assert (trained.shape, trained.num_classes, trained.prediction) == ((4, 8, 8), CLASSES, prediction)
    direct = load_official_dit(tmp_path / "published.pt", convention, heads=HEADS)
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    assert torch.equal(trained.network(x, t), direct(x, t))
    assert trained.generate(3, steps=2, guidance=1.5).isfinite().all()
    assert prediction in file.with_suffix(".md").read_text()
    assert (
        main(["sample", str(file), "--steps", "2", "--num_samples", "5", "--out", str(tmp_path / "samples.npz")]) == 0
    )
    capsys.readouterr()
    assert main(["sample", str(file), "--exact"]) == 2
    assert "the data are not known" in capsys.readouterr().err


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    state = official_state()
    cases: dict[str, object] = {
        "nothing.pt": {"weight": torch.zeros(2)},
        "more.pt": {**state, "blocks.0.attn.q_norm.weight": torch.zeros(8)},
        "list.pt": [1, 2],
    }
    for name, content in cases.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(UserError, match="is no state dict of") as caught:
            load_official_dit(tmp_path / name, "DiT", heads=HEADS)
        assert "\n" not in caught.value.message
    (tmp_path / "cut.pt").write_bytes((tmp_path / "more.pt").read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be read"):
        load_official_dit(tmp_path / "cut.pt", "DiT")
    torch.save(state, tmp_path / "whole.pt")
    with pytest.raises(UserError, match="how many heads has a width of 24"):
        load_official_dit(tmp_path / "whole.pt", "DiT")
