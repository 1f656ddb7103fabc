import subprocess
import sys

import pytest
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.features import feature_network
from fmlab.metrics.frechet import FrechetDistance
from fmlab.metrics.network import FeatureNetwork, RandomFeatures, shrink
from fmlab.metrics.reference import reference_statistics
from fmlab.metrics.registry import metric_key


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (4, 17, 23), (2, 3, 3), (3, 150, 130)])
def test_random_features_take_any_channels_and_size_and_any_batch(shape: tuple[int, ...]) -> None:
    network, x = RandomFeatures(shape), images(5, *shape)
    features = network(x)
    assert features.shape == (5, network.dimension)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(torch.cat([network(part) for part in x.split(2)]), features)
    assert network(x[:0]).shape == (0, network.dimension)
    assert features.std(dim=0).mean() > 1e-3 * features.abs().mean()  # they tell images apart


def test_random_features_are_the_same_on_every_machine() -> None:
    network = RandomFeatures((3, 32, 32))
    # Changing the network changes every number measured with it: the hash is part of the measurement.
    assert network.weights_hash.startswith("0eb4422a4ac87ebb")
    assert network.name == "random"


@pytest.mark.usefixtures("quick_training")
@pytest.mark.parametrize("kind", ["random", "domain"])
def test_making_a_network_disturbs_no_generator(kind: str, stripes, tmp_path) -> None:
    before = torch.get_rng_state()
    feature_network(kind, stripes, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_large_set_of_features_is_made_in_parts() -> None:
    network, x = RandomFeatures((1, 8, 8)), images(50, 1, 8, 8)
    expected = network(x)
    network.images_at_once = 7
    torch.testing.assert_close(network(x), expected)


def test_surrounding_autocast_does_not_touch_the_features() -> None:
    network, x = RandomFeatures((1, 8, 8)), images(4, 1, 8, 8)
    expected = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(x), expected)


def test_features_refuse_floats() -> None:
    with pytest.raises(TypeError, match="uint8"):
        RandomFeatures((1, 8, 8))(torch.zeros(2, 1, 8, 8))


def test_shrink_averages_by_a_whole_factor() -> None:
    assert shrink(torch.zeros(1, 3, 130, 256)).shape == (1, 3, 65, 128)
    assert shrink(torch.zeros(1, 3, 127, 127)).shape == (1, 3, 127, 127)


@pytest.mark.usefixtures("quick_training")
def test_auto_is_domain_for_labelled_images_and_random_for_others(make_set: type, stripes, tmp_path) -> None:
    assert feature_network("auto", make_set(images(4, 3, 8, 8)), tmp_path).name == "random"
    one_class = make_set(images(4, 3, 8, 8), torch.zeros(4, dtype=torch.long))
    assert feature_network("auto", one_class, tmp_path).name == "random"
    stripes.in_memory = False
    assert feature_network("auto", stripes, tmp_path).name == "random"
    with pytest.raises(UserError, match="fit in memory"):
        feature_network("domain", stripes, tmp_path)
    stripes.in_memory = True
    network = feature_network("auto", stripes, tmp_path)
    assert network.name == "domain"
    assert isinstance(network, FeatureNetwork)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.usefixtures("quick_training")
@pytest.mark.parametrize("kind", ["random", "domain"])
def test_what_a_validation_builds_works_outside_it(kind: str, stripes, tmp_path) -> None:
    with torch.inference_mode():
        network = feature_network(kind, stripes, tmp_path)
        metric = FrechetDistance(reference_statistics(stripes, network, tmp_path))
        metric.update(network(stripes.x))
        assert float(metric.compute()["fid"]) == pytest.approx(0, abs=1e-6)
        metric.reset()
    for batch in stripes.x.split(50):
        metric.update(network(batch))
    assert float(metric.compute()["fid"]) == pytest.approx(0, abs=1e-6)


def test_wrong_words_and_wrong_data_are_answered_in_one_line(make_set: type, tmp_path) -> None:
    data = make_set(images(4, 3, 8, 8))
    with pytest.raises(UserError, match="did you mean inception"):
        feature_network("incepton", data, tmp_path)
    with pytest.raises(UserError, match="two or more classes"):
        feature_network("domain", data, tmp_path)
    with pytest.raises(UserError, match="points"):
        feature_network("auto", make_set(torch.zeros(4, 2)), tmp_path)


def test_keys_name_the_features() -> None:
    assert metric_key("fid", "inception") == "val/fid"
    assert metric_key("fid", "domain") == "val/fid_domain"
    assert metric_key("kid", "random") == "val/kid_random"
    assert metric_key("w2") == "val/w2"
    assert metric_key("fid", "domain", prefix="") == "fid_domain"
    assert metric_key("mmd", prefix="test") == "test/mmd"


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "('torch_fidelity', 'torchmetrics', 'scipy', 'torch')"
    code = f"import sys, fmlab.metrics.registry; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
