from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fmlab.data import Digits
from fmlab.errors import UserError
from fmlab.metrics.domain import shipped_network
from fmlab.metrics.halves import ReferenceHalf, real_vs_real
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.network import FeatureNetwork, RandomFeatures
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.reference import reference_statistics


def test_every_image_is_in_one_half_and_both_have_all_sorts(make_set: type) -> None:
    data = make_set((torch.arange(201) % 7).to(torch.uint8).view(-1, 1, 1, 1))
    parts = [torch.cat(list(ReferenceHalf(data, which).reference_batches(13))).flatten() for which in (0, 1)]
    assert sorted(torch.cat(parts).tolist()) == sorted(data.x.flatten().tolist())
    assert abs(len(parts[0]) - len(parts[1])) == 1
    assert all(part.bincount(minlength=7).min() > 5 for part in parts)
    # Images that alternate between two kinds do not end up one kind a half.
    alternating = make_set((torch.arange(400) % 2).to(torch.uint8).view(-1, 1, 1, 1))
    first = torch.cat(list(ReferenceHalf(alternating, 0).reference_batches(64))).float()
    assert 0.4 < first.mean() < 0.6
    assert ReferenceHalf(data, 0).reference_hash() != ReferenceHalf(data, 1).reference_hash()


def distances_of_halves(
    names: list[str], data: Any, network: FeatureNetwork, num_samples: int, cache: Path
) -> dict[str, float]:
    return real_vs_real(MetricSet(names, MetricParts(data, num_samples, cache, network)))


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def test_the_real_vs_real_distance_is_near_zero_for_many_images_and_is_measured_once(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, names = shipped_network("digits"), ["fid", "kid", "is", "prdc", "accuracy"]
    real = distances_of_halves(names, digits, network, 5000, tmp_path)
    half = real["real_samples"]
    assert half == sum(len(batch) for batch in ReferenceHalf(digits, 0).reference_batches(500))
    typical = float(reference_statistics(digits, network, tmp_path).sigma.trace())
    assert 0 < real["fid_domain"] < 0.1 * typical
    assert abs(real["kid_domain"]) < 4 * real["kid_domain_std"]
    assert real["accuracy_domain"] > 0.97
    assert real["density_domain"] == pytest.approx(1, abs=0.1)
    fewer = distances_of_halves(["fid"], digits, network, 100, tmp_path)
    assert fewer["real_samples"] == 100
    assert fewer["fid_domain"] > 1.5 * real["fid_domain"]  # the bias of few images is in it too

    def again(*_: object) -> Tensor:
        raise AssertionError("it was measured twice")

    monkeypatch.setattr(type(network), "extract", again)
    assert distances_of_halves(names, digits, network, 5000, tmp_path) == real
    assert distances_of_halves(["fid"], digits, network, 100, tmp_path)["fid_domain"] == fewer["fid_domain"]


def test_changed_weights_or_images_have_another_real_vs_real_distance(make_set: type, stripes, tmp_path: Path) -> None:
    network = RandomFeatures((1, 8, 8))
    distances = [distances_of_halves(["fid"], stripes, network, 30, tmp_path)]
    network.layers[0].weight.data *= 2
    distances.append(distances_of_halves(["fid"], stripes, network.freeze(), 30, tmp_path))
    changed = stripes.x.clone()
    changed[3] = 0
    distances.append(distances_of_halves(["fid"], make_set(changed), network, 30, tmp_path))
    assert len({each["fid_random"] for each in distances}) == 3


def test_a_set_too_small_for_halves_is_refused(make_set: type, stripes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a half of the reference has 15 images, and fid needs 20"):
        distances_of_halves(["fid"], make_set(stripes.x[:30]), RandomFeatures((1, 8, 8)), 100, tmp_path)
