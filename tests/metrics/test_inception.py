from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from fmlab.errors import UserError
from fmlab.metrics.features import feature_network
from fmlab.metrics.frechet import FrechetDistance
from fmlab.metrics.network import weights_hash
from fmlab.metrics.reference import reference_statistics
from fmlab.metrics.torch_fidelity import INCEPTION_FILE, INCEPTION_URL, InceptionFeatures, weights_file

extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of random weights in the shape of the real ones, which are 91 MB and not at hand."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(extractor.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = extractor.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()


def images(n: int, seed: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=generator) * 255
    return nn.functional.interpolate(coarse, size=(24, 24), mode="bilinear").to(torch.uint8)


def test_features_are_torch_fidelitys_and_grey_is_repeated(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = InceptionFeatures(weights)
    theirs = extractor.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(weights))
    x = images(2, 0)
    with torch.no_grad():
        expected, logits = theirs(x)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    torch.testing.assert_close(network.class_logits(expected), logits)
    assert expected.std() > 0
    grey = images(1, 1, channels=1)
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(UserError, match="1 or 3 channels, not 4"):
        network(torch.zeros(1, 4, 8, 8, dtype=torch.uint8))
    published = weights_hash(nn.ModuleDict({"network": theirs}))  # not of the weights with the norms folded in
    assert (network.name, network.dimension, network.weights_hash) == ("inception", 2048, published)


class Images(Dataset):
    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        return self.x[index]


@pytest.mark.slow
def test_the_distance_is_torch_fidelitys_own_number(weights: Path, make_set: type, tmp_path: Path) -> None:
    torch_fidelity = pytest.importorskip("torch_fidelity")
    real, generated = images(16, 1), images(12, 2)
    data = make_set(real)
    network = feature_network("inception", data, tmp_path, weights=weights)
    metric = FrechetDistance(reference_statistics(data, network, tmp_path, batch_size=5))
    for batch in generated.split(7):
        metric.update(network(batch))
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(generated),
        input2=Images(real),
        fid=True,
        cuda=False,
        batch_size=8,
        feature_extractor_weights_path=str(weights),
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )["frechet_inception_distance"]
    assert float(metric.compute()["fid"]) == pytest.approx(theirs, rel=1e-4)
    assert theirs > 0.01


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object, **__: object) -> None:
        raise URLError("Network is unreachable")

    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FMLAB_INCEPTION", raising=False)


@pytest.mark.usefixtures("no_network")
def test_without_weights_and_network_the_file_and_its_source_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        InceptionFeatures()
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    assert str(tmp_path / "hub" / "checkpoints" / INCEPTION_FILE) in message
    assert "https://github.com/toshas/torch-fidelity" in message
    assert "FMLAB_INCEPTION" in message


def find_weights(path: Path | None) -> Path:
    return weights_file("Inception", path, INCEPTION_FILE, INCEPTION_URL)


@pytest.mark.usefixtures("no_network")
def test_the_argument_comes_before_the_variable_and_that_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "hub" / "checkpoints" / INCEPTION_FILE
    cached.parent.mkdir(parents=True)
    named, given = tmp_path / "named.pth", tmp_path / "given.pth"
    for file in (cached, named, given):
        file.touch()
    assert find_weights(None) == cached
    monkeypatch.setenv("FMLAB_INCEPTION", str(named))
    assert find_weights(None) == named
    assert find_weights(given) == given
    with pytest.raises(UserError, match="no Inception weights"):
        find_weights(tmp_path / "missing.pth")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("not weights")
    for name in ("other.pth", "text.pth"):
        with pytest.raises(UserError, match="does not hold torch-fidelity's Inception weights"):
            InceptionFeatures(tmp_path / name)
