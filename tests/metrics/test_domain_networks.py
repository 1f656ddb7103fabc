import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

import fmlab.metrics
from fmlab.data import Digits
from fmlab.metrics.domain import DomainClassifier, load_bytes, shipped_network, to_bytes
from fmlab.metrics.domain_training import (
    SHIPPED_RECIPES,
    Recipe,
    domain_network,
    network_file_name,
    random_crops,
    recipe_for,
    train_classifier,
)

SHIPPED = {
    "digits": ((1, 8, 8), 0.97, "dfdb8e16a6800047"),
    "fashion_mnist": ((1, 28, 28), 0.91, "6c3b824965f77e41"),
    "cifar10": ((3, 32, 32), 0.78, "1d72a5c6c4ac152e"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_keep_their_weights_and_say_how_good_they_are(name: str) -> None:
    shape, accuracy, digest = SHIPPED[name]
    network = shipped_network(name)
    assert network.shape == shape
    assert 64 <= network.dimension <= 128
    # A changed weight changes every number measured with it.
    assert network.weights_hash[:16] == digest
    assert float(network.metadata["held_out_accuracy"]) >= accuracy
    file = Path(fmlab.metrics.__file__).parent / "domain" / f"{name}.safetensors"
    assert file.stat().st_size <= 500_000
    features = network(torch.zeros(3, *shape, dtype=torch.uint8))
    assert features.shape == (3, network.dimension)
    assert features.dtype == torch.float32


def test_the_digits_network_reaches_its_recorded_accuracy_on_held_out_digits() -> None:
    images, labels = Digits().labelled_images("validation")
    network = shipped_network("digits")
    accuracy = network.accuracy(images, labels)
    assert accuracy >= 0.97
    assert accuracy == pytest.approx(float(network.metadata["held_out_accuracy"]), abs=1.5 / len(images))
    assert int(network.metadata["held_out_images"]) == len(images)


def test_a_set_is_recognised_by_its_class_or_by_its_names_and_size(make_set: type, tmp_path: Path) -> None:
    assert domain_network(Digits(), tmp_path).weights_hash == shipped_network("digits").weights_hash
    cifar = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    labels, x = torch.arange(10), torch.zeros(10, 3, 32, 32, dtype=torch.uint8)
    assert domain_network(make_set(x, labels, cifar), tmp_path).weights_hash == shipped_network("cifar10").weights_hash
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick_training")
def test_a_shipped_network_does_not_serve_other_sizes(make_set: type, tmp_path: Path) -> None:
    larger_digits = type("Digits", (make_set,), {})
    data = larger_digits(torch.zeros(40, 1, 16, 16, dtype=torch.uint8), torch.arange(40) % 10)
    assert domain_network(data, tmp_path).shape == (1, 16, 16)


@pytest.mark.usefixtures("quick_training")
def test_another_set_trains_one_once_and_all_read_the_same_file(
    stripes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = domain_network(stripes, tmp_path)
    assert float(network.metadata["held_out_accuracy"]) > 0.8
    assert network.dimension == 72
    assert sum(file.suffix == ".safetensors" for file in tmp_path.iterdir()) == 1

    def again(*_: object) -> None:
        raise AssertionError("it was trained twice")

    monkeypatch.setattr("fmlab.metrics.domain_training.train_classifier", again)
    assert domain_network(stripes, tmp_path).weights_hash == network.weights_hash


@pytest.mark.usefixtures("quick_training")
def test_a_damaged_file_is_trained_again(stripes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = domain_network(stripes, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        assert domain_network(stripes, tmp_path).weights_hash == network.weights_hash
    assert "is damaged" in caplog.text


def test_training_repeats_itself_even_inside_a_validation_and_disturbs_no_generator(stripes) -> None:
    images, labels = stripes.labelled_images("train")
    recipe, before = Recipe(images=1024, flip=True), torch.get_rng_state()
    first = train_classifier(images, labels, 2, recipe).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        second = train_classifier(images.clone(), labels.clone(), 2, recipe).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = train_classifier(images, labels, 2, dataclasses.replace(recipe, seed=1)).state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_the_name_of_the_file_follows_images_and_labels(make_set: type, stripes) -> None:
    name = network_file_name(stripes)
    assert network_file_name(make_set(stripes.x, stripes.labels)) == name
    changed = stripes.x.clone()
    changed[0, 0, 0, 0] += 1
    assert network_file_name(make_set(changed, stripes.labels)) != name
    assert network_file_name(make_set(stripes.x, 1 - stripes.labels)) != name


def test_a_file_gives_back_the_rounded_weights_and_the_features_are_float32() -> None:
    network = DomainClassifier((3, 20, 24), 4, width=8).freeze()
    content = to_bytes(network, {"held_out_accuracy": 0.5})
    again = load_bytes(content)
    assert (again.shape, again.num_classes, again.width) == ((3, 20, 24), 4, 8)
    assert again.metadata["held_out_accuracy"] == "0.5"
    assert all(tensor.dtype in (torch.float16, torch.int64) for tensor in load(content).values())
    rounded = {key: value.half().float() for key, value in network.state_dict().items() if value.is_floating_point()}
    assert all(torch.equal(again.state_dict()[key], value) for key, value in rounded.items())
    x = torch.randint(0, 256, (5, 3, 20, 24), dtype=torch.uint8)
    assert again(x).dtype == again.logits(x).dtype == torch.float32
    torch.testing.assert_close(again.logits(x), again.head(again(x)))


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 40, 48), (3, 64, 64), (3, 200, 160)])
def test_any_size_has_a_classifier(shape: tuple[int, ...]) -> None:
    features = DomainClassifier(shape, 3, width=8).eval()(torch.zeros(2, *shape, dtype=torch.uint8))
    assert features.shape == (2, 24)
    assert not features.requires_grad


def test_crops_move_images_by_whole_pixels() -> None:
    x = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).repeat(200, 1, 1, 1)
    moved = random_crops(x, 1, torch.Generator().manual_seed(0))
    assert moved.dtype == torch.uint8
    inner = {tuple(image[0, 1:5, 1:5].flatten().tolist()) for image in moved}
    expected = {tuple(x[0, 0, 1 + r : 5 + r, 1 + c : 5 + c].flatten().tolist()) for r in (-1, 0, 1) for c in (-1, 0, 1)}
    assert inner == expected


def test_the_recipe_grows_with_the_set(stripes) -> None:
    assert recipe_for(stripes, 10).images == 20_000
    assert recipe_for(stripes, 1_000).images == 40_000
    assert recipe_for(stripes, 1_000_000).images == 300_000


def test_the_script_writes_the_file_of_a_shipped_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHIPPED_RECIPES, "digits", Recipe(images=4096))
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from train_domain_networks import main

    main(["--data", "digits", "--out", str(tmp_path / "digits.safetensors")])
    network = load_bytes((tmp_path / "digits.safetensors").read_bytes())
    assert float(network.metadata["held_out_accuracy"]) > 0.5
    assert network.metadata["recipe.images"] == "4096"
    assert f"held-out images: {network.metadata['held_out_accuracy']}" in capsys.readouterr().out
