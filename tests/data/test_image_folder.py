"""Images in folders and zips: layouts, decoding, what does not fit in memory, and damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.image_files import encoded, picture, write_folder, write_zip
from PIL import Image

from fmlab.data import ImageFolder
from fmlab.data.arrangement import arrange
from fmlab.data.decoding import decode
from fmlab.data.files import ImageFiles
from fmlab.errors import UserError

PETS = {
    **{f"cat/{number}.png": encoded(picture(number)) for number in range(6)},
    **{f"dog/{number}.jpg": encoded(picture(10 + number), ".jpg") for number in range(4)},
}
SPLIT = {
    **{f"train/{name}": content for name, content in PETS.items()},
    **{f"test/{name}": encoded(picture(20 + len(name))) for name in ("cat/a.png", "dog/bb.png", "dog/ccc.png")},
}
FLAT = {f"{number}.png": encoded(picture(number)) for number in range(10)}


def contents(data: ImageFolder) -> list[Any]:
    splits = [data.split(name) for name in ("train", "validation")]
    return [(split.take(torch.arange(len(split))), split.labels) for split in splits]


def same(left: list[Any], right: list[Any]) -> bool:
    return all(x.equal(y) and (a is b is None or a.equal(b)) for (x, a), (y, b) in zip(left, right, strict=True))


@pytest.mark.parametrize("files", [PETS, SPLIT, FLAT])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_zip_is_the_folder_and_memory_is_the_disk(tmp_path: Path, files: dict[str, bytes], channels: Any) -> None:
    folder, archive = write_folder(tmp_path / "images", files), write_zip(tmp_path / "images.zip", files)
    from_folder = ImageFolder(str(folder), 8, channels)
    from_zip = ImageFolder(str(archive), 8, channels)
    lazy = ImageFolder(str(archive), 8, channels, memory_gib=0.0)
    assert from_zip.in_memory
    assert not lazy.in_memory
    assert from_folder.shape == (channels, 8, 8)
    assert same(contents(from_folder), contents(from_zip))
    assert same(contents(from_folder), contents(lazy))
    assert from_folder.reference_hash() == from_zip.reference_hash()
    assert from_folder.class_names == from_zip.class_names == (None if files is FLAT else ["cat", "dog"])


def test_a_lazy_set_reads_in_workers_what_memory_holds(tmp_path: Path) -> None:
    archive = str(write_zip(tmp_path / "images.zip", PETS))
    memory, lazy = (
        ImageFolder(archive, 8, global_batch_size=3, memory_gib=memory, num_workers=2, seed=5) for memory in (1.0, 0.0)
    )
    pairs = list(zip(memory.train_dataloader(), lazy.train_dataloader(), strict=True))
    assert len(pairs) == 3
    assert all(left[0].equal(right[0]) and left[1].equal(right[1]) for left, right in pairs)
    references = [torch.cat(list(data.reference_batches(4))) for data in (memory, lazy)]
    assert references[0].equal(references[1])
    with pytest.raises(UserError, match="do not fit in memory"):
        lazy.labelled_images("train")


def test_the_hash_of_a_lazy_set_sees_bytes_and_size(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", FLAT)

    def hashed(size: int = 8) -> str:
        return ImageFolder(str(folder), size, memory_gib=0.0).reference_hash()

    first = hashed()
    assert write_zip(tmp_path / "images.zip", FLAT)
    assert ImageFolder(str(tmp_path / "images.zip"), 8, memory_gib=0.0).reference_hash() == first
    assert hashed(size=9) != first
    for name in FLAT:
        (folder / name).write_bytes(encoded(picture(99)))
    assert hashed() != first


def test_split_folders_are_the_splits(tmp_path: Path) -> None:
    data = ImageFolder(str(write_folder(tmp_path / "images", SPLIT)), 8)
    (_, train), (_, validation) = contents(data)
    assert train.tolist() == [0] * 6 + [1] * 4
    assert validation.tolist() == [0, 1, 1]
    assert data.num_classes == 2


def test_without_split_folders_a_fixed_tenth_validates() -> None:
    names = sorted(f"{group}/{number:03d}.png" for group in "ab" for number in range(100))
    layout = arrange(names, 0.1)
    assert len(layout.validation) == 20
    assert sorted(layout.train + layout.validation) == names
    assert not set(layout.train) & set(layout.validation)
    assert layout.validation != names[:20]
    assert arrange(names, 0.1) == layout
    assert 5 <= sum(name.startswith("a") for name in layout.validation) <= 15
    assert len(arrange(names[:2], 0.001).validation) == len(arrange(names[:2], 0.999).train) == 1


@pytest.mark.parametrize(
    ("names", "train", "validation", "classes"),
    [
        (["train/1.png", "train/2.png", "val/3.png"], 2, 1, None),
        (["train/a/1.png", "validation/a/2.png", "test/a/3.png"], 1, 1, ["a"]),
        (["train/a/1.png", "train/b/2.png"], 1, 1, ["a", "b"]),
        (["bus/1.png", "car/2.png", "train/3.png"], 2, 1, ["bus", "car", "train"]),
        (["pets/cat/1.png", "pets/dog/2.png"], 1, 1, ["cat", "dog"]),
        (["set/train/cat/1.png", "set/test/cat/2.png"], 1, 1, ["cat"]),
        (["a/x/1.png", "b/y/2.png", "b/3.png"], 2, 1, ["a", "b"]),
    ],
)
def test_layouts(names: list[str], train: int, validation: int, classes: list[str] | None) -> None:
    layout = arrange(sorted(names), 0.1)
    assert (len(layout.train), len(layout.validation), layout.class_names) == (train, validation, classes)
    assert (layout.labels is None) == (classes is None)


def test_validation_is_preferred_to_test() -> None:
    names = ["test/a/3.png", "train/a/1.png", "validation/a/2.png"]
    assert arrange(names, 0.1).validation == ["validation/a/2.png"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there are no images"),
        (["1.png", "cat/2.png"], "'1.png' lies in no class folder"),
        (["test/dog/1.png", "train/cat/1.png"], "'test/dog/1.png' is of a class that the training images do not have"),
        (["1.png"], "one image is too few"),
    ],
)
def test_a_wrong_layout_is_explained_in_one_line(names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        arrange(names, 0.1)
    assert "\n" not in caught.value.message


def test_files_other_than_images_are_ignored(tmp_path: Path) -> None:
    litter = {"README.txt": b"x", ".cache/1.png": b"x", "__MACOSX/cat/._0.png": b"x", "cat/Thumbs.db": b"x"}
    files = ImageFiles(write_zip(tmp_path / "images.zip", {**PETS, **litter}))
    assert files.names == sorted(PETS)


@pytest.mark.parametrize("memory_gib", [1.0, 0.0])
@pytest.mark.parametrize("content", [b"", b"no image", PETS["cat/0.png"][:60], PETS["dog/0.jpg"][:200]])
def test_a_damaged_image_is_named_in_one_line(tmp_path: Path, content: bytes, memory_gib: float) -> None:
    files = {**SPLIT, "train/cat/broken.png": content}
    data = ImageFolder(str(write_zip(tmp_path / "pets.zip", files)), 8, memory_gib=memory_gib, num_workers=1)
    with pytest.raises(UserError, match=r"cannot read the image 'train/cat/broken.png' in '.*pets.zip'") as caught:
        list(data.reference_batches(4))
    assert "\n" not in caught.value.message


def test_paths_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no zip")
    for path, message in ((tmp_path / "absent", "does not exist"), (tmp_path / "notes.txt", "neither a folder nor")):
        with pytest.raises(UserError, match=message) as caught:
            ImageFolder(str(path), 8)
        assert caught.value.key == "data.path"


@pytest.mark.parametrize(("key", "value"), [("size", 0), ("validation_fraction", 1.0), ("validation_fraction", 0.0)])
def test_numbers_out_of_range_name_their_key(tmp_path: Path, key: str, value: Any) -> None:
    path = str(write_folder(tmp_path / "images", FLAT))
    with pytest.raises(UserError) as caught:
        ImageFolder(path, **{"size": 8, key: value})
    assert caught.value.key == f"data.{key}"


def test_limit_decodes_only_what_it_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    original = ImageFiles.read
    monkeypatch.setattr(ImageFiles, "read", lambda self, name: decoded.append(name) or original(self, name))
    data = ImageFolder(str(write_folder(tmp_path / "images", SPLIT)), 8, limit=4)
    data.setup()
    assert len(data.split("train")) == 4
    assert len(decoded) == 4 + 3


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    pixels = picture(3, 16, 16)
    assert np.array_equal(decode(encoded(pixels), 3, 16), pixels.transpose(2, 0, 1))
    grey = picture(4, 16, 16, channels=1)
    assert np.array_equal(decode(encoded(grey), 1, 16)[0], grey)
    assert np.array_equal(decode(encoded(grey), 3, 16), np.stack([grey] * 3))


def test_the_middle_of_the_longer_side_is_kept() -> None:
    wide = np.zeros((8, 24, 3), dtype=np.uint8)
    wide[:, 8:16] = 200
    assert (decode(encoded(wide), 3, 8) == 200).all()
    assert (decode(encoded(np.ascontiguousarray(wide.transpose(1, 0, 2))), 3, 8) == 200).all()


def test_shrinking_averages_and_does_not_alias() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    small = decode(encoded(stripes), 3, 8).astype(int)
    assert abs(small - 100).max() <= 5
    assert (small[:, :, 1:-1] == 100).all()


@pytest.mark.parametrize(("width", "height"), [(5, 7), (7, 5), (33, 32), (100, 31), (3, 200)])
def test_any_shape_becomes_the_square(width: int, height: int) -> None:
    assert decode(encoded(picture(1, width, height)), 3, 32).shape == (3, 32, 32)


def test_images_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90 degrees clockwise
    path = tmp_path / "turned.jpg"
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    upright = decode(path.read_bytes(), 3, 8)
    assert upright[:, :, 5:].min() > 200
    assert upright[:, :, :3].max() < 50


def test_transparent_and_palette_images_are_read(tmp_path: Path) -> None:
    for mode in ("RGBA", "P", "LA", "1"):
        Image.fromarray(picture(2)).convert(mode).save(tmp_path / f"{mode}.png")
        assert decode((tmp_path / f"{mode}.png").read_bytes(), 3, 8).shape == (3, 8, 8)


@pytest.mark.parametrize(
    "name", ["../outside.png", "cat/../../outside.png", "/etc/outside.png", "C:\\outside.png", "..\\a.png"]
)
def test_a_zip_with_paths_that_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "pets.zip", {**PETS, name: PETS["cat/0.png"]})
    with pytest.raises(UserError, match="leaves its folder"):
        ImageFolder(str(archive), size=8)
