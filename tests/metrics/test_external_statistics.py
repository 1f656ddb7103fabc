"""Files in the layouts that other projects document, and fmlab's own."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.gaussian_distance import frechet_distance
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.network import FeatureNetwork, RandomFeatures
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.reference import ReferenceStatistics, reference_statistics
from fmlab.metrics.reference_file import statistics_file


class SmallInception(FeatureNetwork):
    """Stands for Inception: its name, and five features that are means over parts of the image."""

    name, dimension, resize = "inception", 5, "to 299 x 299"

    def extract(self, images: Tensor) -> Tensor:
        x = images.float().mean(dim=1) / 255
        return torch.stack([x[:, i : i + 3].mean(dim=(1, 2)) for i in range(5)], dim=1)


def metric_set(names: list[str], network: FeatureNetwork, reference: ReferenceStatistics, cache: Path) -> MetricSet:
    """The metrics of 30 images against statistics from a file."""
    data: Any = SimpleNamespace(kind="images")
    return MetricSet(names, MetricParts(data, 30, cache, network, reference=reference))


@pytest.fixture
def network() -> FeatureNetwork:
    return SmallInception().freeze()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5))
    images = rng.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    spatial = rng.normal(size=(60, 7))
    moments = {"mu": features.mean(0), "sigma": np.cov(features, rowvar=False)}
    return {**moments, "mu_s": spatial.mean(0), "sigma_s": np.cov(spatial, rowvar=False), "arr_0": images}


def save(path: Path, arrays: dict[str, np.ndarray], *names: str) -> Path:
    np.savez(path, **{name: arrays[name] for name in names})
    return path


def test_edm_and_pytorch_fid_files_are_mu_and_sigma_known_by_their_own_hash(network, arrays, tmp_path: Path) -> None:
    path = save(tmp_path / "cifar10-32x32.npz", arrays, "mu", "sigma")
    loaded = statistics_file(path, network, tmp_path / "cache")
    np.testing.assert_array_equal(loaded.mu.numpy(), arrays["mu"])
    np.testing.assert_array_equal(loaded.sigma.numpy(), arrays["sigma"])
    torch.testing.assert_close(loaded.factor @ loaded.factor.T, loaded.sigma)
    assert loaded.key == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (loaded.n, loaded.file) == (None, "cifar10-32x32.npz")
    assert loaded.features.shape == (0, 5)
    metrics = metric_set(["fid"], network, loaded, tmp_path)
    images = torch.randint(0, 256, (30, 3, 8, 8), dtype=torch.uint8)
    metrics.update(images, None, torch.arange(30))
    features = network(images).double()
    expected = frechet_distance(features.mean(0), features.T.cov(), loaded.mu, loaded.sigma)
    assert metrics.compute()["fid"] == pytest.approx(float(expected), rel=1e-9)
    for name in ("kid", "prdc"):
        with pytest.raises(UserError, match=r"reference images or more, and cifar10-32x32.npz has 0"):
            metric_set([name], network, loaded, tmp_path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_edm2_pickles_are_read_without_running_code(network, arrays, tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "img512.pkl"
    moments = {name: arrays[name] for name in ("mu", "sigma")}
    other = {"mu": np.zeros(9), "sigma": np.eye(9)}
    path.write_bytes(pickle.dumps({"num_images": 60, "fid": moments, "fd_dinov2": other}, protocol=protocol))
    loaded = statistics_file(path, network, tmp_path)
    np.testing.assert_array_equal(loaded.sigma.numpy(), arrays["sigma"])
    assert loaded.n == 60
    path.write_bytes(pickle.dumps(moments, protocol=protocol))
    np.testing.assert_array_equal(statistics_file(path, network, tmp_path).mu.numpy(), arrays["mu"])


def test_a_pickle_that_names_anything_but_arrays_is_refused(network, tmp_path: Path) -> None:
    class MakesFolder:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "made"),)

    path = tmp_path / "stats.pkl"
    path.write_bytes(pickle.dumps({"fid": MakesFolder()}))
    with pytest.raises(UserError, match="cannot be read"):
        statistics_file(path, network, tmp_path)
    assert not (tmp_path / "made").exists()


def test_adm_batches_have_moments_of_the_whole_set_and_images_to_compare_with(network, arrays, tmp_path: Path) -> None:
    path = save(tmp_path / "VIRTUAL_256.npz", arrays, "mu", "sigma", "mu_s", "sigma_s", "arr_0")
    loaded = statistics_file(path, network, tmp_path / "cache")
    np.testing.assert_array_equal(loaded.mu.numpy(), arrays["mu"])
    images = torch.from_numpy(arrays["arr_0"]).permute(0, 3, 1, 2)
    torch.testing.assert_close(loaded.features, network(images))
    assert loaded.n is None
    assert loaded.key == hashlib.sha256(path.read_bytes()).hexdigest()
    metric_set(["fid", "kid", "prdc"], network, loaded, tmp_path)
    # Under other features its images alone count.
    other = RandomFeatures((3, 8, 8))
    by_images = statistics_file(path, other, tmp_path / "cache")
    torch.testing.assert_close(by_images.mu, other(images).double().mean(0), rtol=1e-5, atol=1e-6)
    assert (by_images.n, by_images.file) == (40, "VIRTUAL_256.npz")


def test_images_alone_are_a_reference_and_measured_once(network, arrays, tmp_path: Path, monkeypatch) -> None:
    path = save(tmp_path / "samples.npz", arrays, "arr_0")
    first = statistics_file(path, network, tmp_path / "cache")
    features = network(torch.from_numpy(arrays["arr_0"]).permute(0, 3, 1, 2)).double()
    torch.testing.assert_close(first.sigma, features.T.cov())
    assert first.n == 40
    monkeypatch.setattr(SmallInception, "extract", None)
    assert torch.equal(statistics_file(path, network, tmp_path / "cache").sigma, first.sigma)


def test_our_own_file_serves_the_features_it_was_made_with_alone(stripes, tmp_path: Path) -> None:
    network = RandomFeatures((1, 8, 8))
    expected = reference_statistics(stripes, network, tmp_path)
    (path,) = tmp_path.glob("reference-*.npz")
    loaded = statistics_file(path, network, tmp_path)
    for name in ("mu", "sigma", "features"):
        assert torch.equal(getattr(loaded, name), getattr(expected, name))
    assert loaded.n == expected.n
    changed = RandomFeatures((1, 8, 8))
    changed.layers[0].bias.data[0] += 1
    with pytest.raises(UserError, match=r"was made with other features: weights \w{12}, not \w{12}$"):
        statistics_file(path, changed.freeze(), tmp_path)
    with np.load(path) as file:
        assert json.loads(str(file["made_with"])) == network.description()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"mu": np.zeros(5)}, "holds no reference statistics\n  an .npz has `mu` and `sigma`, or images as `arr_0`"),
        ({"mu": np.zeros(9), "sigma": np.eye(9)}, "holds (9,) and (9, 9), and inception has 5 features"),
        ({"mu": np.zeros(5), "sigma": np.triu(np.ones((5, 5)))}, "holds no covariance"),
        ({"mu": np.full(5, np.nan), "sigma": np.eye(5)}, "holds no covariance"),
        ({"arr_0": np.zeros((4, 8, 8, 3))}, "is no batch of uint8 images"),
        ({"arr_0": np.zeros((4, 3, 8, 8), np.uint8)}, "is no batch of uint8 images"),
    ],
)
def test_what_is_no_reference_is_refused_in_one_line(network, tmp_path: Path, content: dict, message: str) -> None:
    np.savez(tmp_path / "stats.npz", **content)
    with pytest.raises(UserError) as caught:
        statistics_file(tmp_path / "stats.npz", network, tmp_path)
    assert message in str(caught.value)


def test_broken_and_missing_files_and_other_features_are_refused(network, arrays, tmp_path: Path) -> None:
    path = save(tmp_path / "stats.npz", arrays, "mu", "sigma")
    with pytest.raises(UserError, match="statistics of Inception features, not of random"):
        statistics_file(path, RandomFeatures((1, 8, 8)), tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    for name in ("stats.npz", "absent.npz", "absent.pkl"):
        with pytest.raises(UserError, match=f"{name} cannot be read as reference statistics"):
            statistics_file(tmp_path / name, network, tmp_path)
    np.savez_compressed(tmp_path / "bomb.npz", mu=np.zeros(40_000_000))
    os.mkfifo(tmp_path / "pipe.npz")
    for name, cause in (("bomb.npz", "mu is too large"), ("pipe.npz", "is no file")):
        with pytest.raises(UserError, match=rf"{name} cannot be read as reference statistics \({cause}"):
            statistics_file(tmp_path / name, network, tmp_path)
    (tmp_path / "text.pkl").write_text("mu and sigma")
    with pytest.raises(UserError, match="cannot be read"):
        statistics_file(tmp_path / "text.pkl", network, tmp_path)
