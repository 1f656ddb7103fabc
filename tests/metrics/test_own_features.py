"""A feature network from a file of the user's own."""

import sys
from pathlib import Path

import pytest
import torch

from fmlab.errors import UserError
from fmlab.metrics.features import feature_network
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.reference import reference_statistics, statistics_key

CODE = """
import torch
from torch import nn


class MyFeatures(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(64, 7)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.dropout(self.project(images.float().flatten(1) / 255))


class Moments(nn.Module):  # it has no weights
    def forward(self, images):
        x = images.float().flatten(1)
        return torch.stack([x.mean(1), x.std(1)], dim=1)


class Wrong(nn.Module):
    def forward(self, images):
        return images.float()


class Broken(nn.Module):
    def forward(self, images):
        raise RuntimeError("out of\\nideas")


class NoModule:
    pass
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes `my_features.py` where Python finds it, as a new module each time."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(code: str = CODE) -> None:
        (tmp_path / "my_features.py").write_text(code)
        sys.modules.pop("my_features", None)

    write()
    yield write
    sys.modules.pop("my_features", None)


def test_its_metrics_bear_its_name_and_its_weights_are_hashed(write, stripes, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    metrics = MetricSet(["fid", "kid"], MetricParts(stripes, 60, tmp_path / "cache", "my_features.MyFeatures"))
    assert torch.equal(torch.get_rng_state(), before)
    network = metrics.parts.network
    assert (network.name, network.dimension, network.resize) == ("my_features_MyFeatures", 7, "the network's own")
    assert len(network.weights_hash) == len(network.description()["code"]) == 64
    metrics.update(stripes.x[:60], None, torch.arange(60))
    values = metrics.compute()
    assert {"fid_my_features_MyFeatures", "kid_my_features_MyFeatures_std"} <= set(values)
    # Without dropout, and with the same weights every time.
    again = feature_network("my_features.MyFeatures", stripes, tmp_path)
    assert torch.equal(again(stripes.x), network(stripes.x))
    assert again.weights_hash == network.weights_hash


def test_one_without_weights_works(write, stripes, tmp_path: Path) -> None:
    network = feature_network("my_features.Moments", stripes, tmp_path)
    statistics = reference_statistics(stripes, network, tmp_path)
    torch.testing.assert_close(statistics.mu[0], stripes.x.double().mean(), rtol=1e-6, atol=0)


def test_an_edit_of_its_source_makes_its_statistics_new(write, stripes, tmp_path: Path) -> None:
    keys = []
    for code in (CODE, CODE.replace("x.std(1)", "x.amax(1)"), CODE):
        write(code)
        network = feature_network("my_features.Moments", stripes, tmp_path)
        keys.append(statistics_key(stripes.reference_hash(), network))
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("my_features.MyFeature", "my_features has no Module 'MyFeature'\n  did you mean MyFeatures?"),
        ("my_features.NoModule", "my_features has no Module 'NoModule'"),
        ("my_feature.MyFeatures", "my_feature cannot be imported: ModuleNotFoundError: No module named 'my_feature'"),
        ("my_features.Wrong", "my_features.Wrong makes (2, 1, 8, 8) of 2 images, not features (2, D)"),
        ("my_features.Broken", "my_features.Broken failed: RuntimeError: out of ideas"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(write, stripes, tmp_path: Path, word: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        feature_network(word, stripes, tmp_path)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
