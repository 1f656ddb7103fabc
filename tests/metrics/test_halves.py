from pathlib import Path

import pytest
import torch
from torch import Tensor

from fmlab.data import Digits
from fmlab.errors import UserError
from fmlab.metrics import RandomFeatures, halves, reference_statistics, shipped_network
from fmlab.metrics.floor import Half


def test_every_image_is_in_one_half_and_both_have_all_sorts(make_set: type) -> None:
    data = make_set((torch.arange(201) % 7).to(torch.uint8).view(-1, 1, 1, 1))
    parts = [torch.cat(list(Half(data, which).reference_batches(13))).flatten() for which in (0, 1)]
    assert sorted(torch.cat(parts).tolist()) == sorted(data.x.flatten().tolist())
    assert abs(len(parts[0]) - len(parts[1])) == 1
    assert all(part.bincount(minlength=7).min() > 5 for part in parts)
    # Images that alternate between two kinds do not end up one kind a half.
    alternating = make_set((torch.arange(400) % 2).to(torch.uint8).view(-1, 1, 1, 1))
    first = torch.cat(list(Half(alternating, 0).reference_batches(64))).float()
    assert 0.4 < first.mean() < 0.6
    assert Half(data, 0).reference_hash() != Half(data, 1).reference_hash()


def test_shares_of_a_half_are_the_half(make_set: type) -> None:
    half = Half(make_set(torch.arange(101, dtype=torch.uint8).view(-1, 1, 1, 1)), 1)
    whole = torch.cat(list(half.reference_batches(10))).flatten().tolist()
    shares = [torch.cat(list(half.reference_batches(10, rank, 3))).flatten().tolist() for rank in range(3)]
    assert sorted(value for share in shares for value in share) == sorted(whole)
    assert [len(share) for share in shares] == [len(whole[rank::3]) for rank in range(3)]


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def test_the_floor_is_near_zero_where_there_are_many_and_is_measured_once(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, names = shipped_network("digits"), ["fid", "kid", "is", "prdc", "accuracy"]
    floor = halves(names, digits, network, 5000, tmp_path)
    half = floor["real_images"]
    assert half == sum(len(batch) for batch in Half(digits, 0).reference_batches(500))
    typical = float(reference_statistics(digits, network, tmp_path).sigma.trace())
    assert 0 < floor["fid_domain"] < 0.1 * typical
    assert abs(floor["kid_domain"]) < 4 * floor["kid_domain_std"]
    assert floor["accuracy_domain"] > 0.97
    assert floor["density_domain"] == pytest.approx(1, abs=0.1)
    fewer = halves(["fid"], digits, network, 100, tmp_path)
    assert fewer["real_images"] == 100
    assert fewer["fid_domain"] > 1.5 * floor["fid_domain"]  # the bias of few images is the floor's too

    def again(*_: object) -> Tensor:
        raise AssertionError("it was measured twice")

    monkeypatch.setattr(type(network), "extract", again)
    assert halves(names, digits, network, 5000, tmp_path) == floor
    assert halves(["fid"], digits, network, 100, tmp_path)["fid_domain"] == fewer["fid_domain"]


def test_changed_weights_or_images_have_another_floor(make_set: type, stripes, tmp_path: Path) -> None:
    network = RandomFeatures((1, 8, 8))
    floors = [halves(["fid"], stripes, network, 30, tmp_path)]
    network.layers[0].weight.data *= 2
    floors.append(halves(["fid"], stripes, network.freeze(), 30, tmp_path))
    changed = stripes.x.clone()
    changed[3] = 0
    floors.append(halves(["fid"], make_set(changed), network, 30, tmp_path))
    assert len({floor["fid_random"] for floor in floors}) == 3


def test_a_set_too_small_for_halves_is_refused(make_set: type, stripes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a half of the reference has 15 images, and fid needs 20"):
        halves(["fid"], make_set(stripes.x[:30]), RandomFeatures((1, 8, 8)), 100, tmp_path)
