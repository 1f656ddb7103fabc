"""Fashion-MNIST and CIFAR-10, read from small files in torchvision's own formats."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from helpers.image_files import write_cifar10, write_fashion_mnist

from fmlab.data import CIFAR10, FashionMNIST
from fmlab.errors import UserError


def no_network(*_: Any, **__: Any) -> None:
    raise URLError("no network here")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)


def test_fashion_mnist_reads_torchvisions_files(tmp_path: Path) -> None:
    images, labels = write_fashion_mnist(tmp_path)
    data = FashionMNIST(str(tmp_path), global_batch_size=4)
    data.prepare_data()
    x, label = data.labelled_images("train")
    assert np.array_equal(x.numpy()[:, 0], images)
    assert label.tolist() == labels.tolist()
    assert tuple(x.shape[1:]) == data.shape
    assert len(data.split("validation")) == 10
    assert not data.flip


def test_cifar10_reads_torchvisions_files(tmp_path: Path) -> None:
    images = write_cifar10(tmp_path)
    data = CIFAR10(str(tmp_path), global_batch_size=4)
    data.prepare_data()
    x, label = data.labelled_images("train")
    assert np.array_equal(x.numpy(), images)
    assert label.tolist() == [(number + row) % 10 for number in range(5) for row in range(4)]
    assert tuple(x.shape[1:]) == data.shape
    assert len(data.split("validation")) == 4
    assert data.flip


def test_class_names_are_torchvisions() -> None:
    from torchvision import datasets

    assert list(FashionMNIST.class_names) == datasets.FashionMNIST.classes
    assert " ".join(CIFAR10.class_names) == "airplane automobile bird cat deer dog frog horse ship truck"


def test_limit_leaves_the_test_part_whole(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    data = CIFAR10(str(tmp_path), limit=7)
    assert (len(data.split("train")), len(data.split("validation"))) == (7, 4)


@pytest.mark.parametrize(
    ("make", "what", "where"),
    [
        (FashionMNIST, "ubyte.gz", "FashionMNIST/raw"),
        (CIFAR10, "cifar-10-python.tar.gz", "into '"),
    ],
)
def test_without_network_two_lines_say_what_to_put_where(tmp_path: Path, make: Any, what: str, where: str) -> None:
    root = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        make(root).prepare_data()
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("data.root: ")
    assert "no network here" in lines[0]
    assert what in lines[1]
    assert where in lines[1]
    assert root in lines[1]


def test_a_download_waits_for_another_and_then_finds_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lock:
        """The other process downloads while this one waits."""

        def __init__(self, path: Path) -> None:
            assert path.parent == tmp_path

        def __enter__(self) -> None:
            write_cifar10(tmp_path)

        def __exit__(self, *_: Any) -> None: ...

    monkeypatch.setattr("fmlab.data.torchvision_sets.FileLock", Lock)
    CIFAR10(str(tmp_path)).prepare_data()


def test_files_that_are_there_need_neither_a_lock_nor_a_writable_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fashion_mnist(tmp_path)
    monkeypatch.setattr("fmlab.data.torchvision_sets.FileLock", lambda *_: pytest.fail("locked"))
    data = FashionMNIST(str(tmp_path))
    data.prepare_data()
    data.setup()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"labels": []}, protocol=2)])
def test_a_damaged_batch_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    with pytest.raises(UserError, match="data_batch_3' cannot be read") as caught:
        CIFAR10(str(tmp_path)).setup()
    assert "\n" not in caught.value.message


def test_a_cut_off_image_file_is_refused(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read"):
        FashionMNIST(str(tmp_path)).setup()


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps({"data": Harmful()}, protocol=2))
    with pytest.raises(UserError, match="which is no part of an array"):
        CIFAR10(str(tmp_path)).setup()
    assert not (tmp_path / "ran").exists()


def test_validation_images_are_the_reference_when_asked(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    data = FashionMNIST(str(tmp_path), reference="validation")
    assert sum(len(batch) for batch in data.reference_batches(3)) == 10
    assert torch.cat(list(data.reference_batches(3))).equal(data.labelled_images("validation")[0])
