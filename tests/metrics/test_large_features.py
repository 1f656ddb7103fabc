"""CLIP and DINOv2 through torch-fidelity, with tiny stand-ins for files of hundreds of megabytes."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.metrics.features import feature_network

clip = pytest.importorskip("torch_fidelity.feature_extractor_clip")
dinov2 = pytest.importorskip("torch_fidelity.feature_extractor_dinov2")

HUBCONF = """
import os
import warnings
import torch
from torch import nn


class Tiny(nn.Module):
    embed_dim = 12

    def __init__(self):
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 3))
        self.patches = nn.Conv2d(3, 12, 14, stride=14)
        self.plain_attention = "XFORMERS_DISABLED" in os.environ

    def forward(self, x):
        return torch.tanh(self.patches(x)).mean(dim=(2, 3))


def dinov2_vits14(pretrained=True):
    assert not pretrained, "it would fetch the weights"
    return Tiny()
"""


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub, and no network."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("it went to the network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("FMLAB_CLIP", "FMLAB_DINOV2"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.hub.urlopen", refused)
    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub"


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    """A TorchScript archive laid out as OpenAI's: the image tower under `visual`, and a text projection."""

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = clip.CLIPVisual(16, 24, 1, 64, 8).visual
            self.text_projection = nn.Parameter(torch.zeros(4, 16))

        def forward(self, x: Tensor) -> Tensor:
            return self.visual(x) + self.text_projection.sum()

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Tower().eval(), torch.zeros(1, 3, 24, 24)).save(str(tmp_path / "tower.pt"))
    return tmp_path / "tower.pt"


@pytest.fixture
def dino_file(hub: Path) -> Path:
    (hub / "facebookresearch_dinov2_main").mkdir()
    (hub / "facebookresearch_dinov2_main" / "hubconf.py").write_text(HUBCONF)
    torch.manual_seed(0)
    state = {"mask_token": torch.zeros(1, 3), "patches.weight": torch.randn(12, 3, 14, 14) / 20}
    torch.save({**state, "patches.bias": torch.zeros(12)}, hub.parent / "dino.pth")
    return hub.parent / "dino.pth"


@pytest.fixture
def data(make_set: type):
    return make_set(torch.randint(0, 256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(torch.uint8))


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:FutureWarning")
def test_clip_features_are_torch_fidelitys(clip_file: Path, data, tmp_path: Path) -> None:
    network = feature_network("clip", data, tmp_path, clip_file)
    theirs = clip.FeatureExtractorCLIP("clip-vit-b-32", ["clip"], str(clip_file))
    assert torch.equal(network(data.x), theirs(data.x)[0])
    assert network(data.x).std(dim=0).min() > 0
    assert (network.name, network.dimension) == ("clip_vit_b_32", 16)
    assert network.resize.startswith("to 24 x 24, bilinear as in TensorFlow 1")
    grey = data.x[:, :1]
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))


def test_clip_weights_are_found_in_torch_hub_and_by_the_variable(
    clip_file: Path, data, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMLAB_CLIP", str(clip_file))
    expected = feature_network("clip-vit-l-14", data, tmp_path).weights_hash
    monkeypatch.delenv("FMLAB_CLIP")
    digest = clip.MODEL_METADATA["clip-vit-l-14"]["hash"]
    clip_file.rename(hub / "checkpoints" / f"clip-vit-l-14-{digest}.pt")
    network = feature_network("clip-vit-l-14", data, tmp_path)
    assert (network.weights_hash, network.name) == (expected, "clip_vit_l_14")


def test_dinov2_features_are_torch_fidelitys_extraction_of_the_given_weights(
    dino_file: Path, data, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = feature_network("dinov2-vit-s-14", data, tmp_path, dino_file)
    assert "XFORMERS_DISABLED" not in os.environ
    assert network.network.model.plain_attention
    model = torch.hub.load(str(hub / "facebookresearch_dinov2_main"), "dinov2_vits14", source="local", pretrained=False)
    model.load_state_dict(torch.load(dino_file))
    monkeypatch.setattr("torch.hub.load", lambda *_, **__: model)
    theirs = dinov2.FeatureExtractorDinoV2("dinov2-vit-s-14", ["dinov2"])
    assert torch.equal(network(data.x), theirs(data.x)[0])
    assert (network.name, network.dimension) == ("dinov2_vit_s_14", 12)
    assert network.resize.startswith("to 224 x 224")


def test_without_weights_or_code_the_file_and_its_address_are_named(data, hub: Path, tmp_path: Path) -> None:
    for kind, file, address in [
        (
            "dinov2",
            "dinov2_vitl14_pretrain.pth",
            "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pre",
        ),
        ("dinov2-vit-s-14", "dinov2_vits14_pretrain.pth", "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14"),
        ("clip", "clip-vit-b-32-40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af.pt", "https://openai"),
    ]:
        with pytest.raises(UserError) as caught:
            feature_network(kind, data, tmp_path)
        message = str(caught.value)
        assert len(message.splitlines()) == 2
        assert str(hub / "checkpoints" / file) in message
        assert address in message
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"no DINOv2 code at .*https://github\.com/facebookresearch/dinov2"):
        feature_network("dinov2-vit-s-14", data, tmp_path, tmp_path / "weights.pth")


def test_weights_of_something_else_or_part_of_them_are_never_completed_at_random(
    dino_file: Path, data, tmp_path: Path
) -> None:
    state = torch.load(dino_file)
    for name, content in (("partial", {"patches.bias": state["patches.bias"]}), ("other", {"weight": torch.zeros(3)})):
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(UserError, match="does not hold the weights of dinov2_vits14"):
            feature_network("dinov2-vit-s-14", data, tmp_path, tmp_path / f"{name}.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(UserError, match="does not hold the weights"):
        feature_network("dinov2-vit-s-14", data, tmp_path, tmp_path / "text.pth")
    for name in ("partial.pth", "text.pth"):
        with pytest.raises(UserError, match="does not hold CLIP's weights"):
            feature_network("clip", data, tmp_path, tmp_path / name)
