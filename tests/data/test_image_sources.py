"""Any layout of image files is recognised or refused, every file is read or named, and pixels mean what they show."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.image_files import encoded, picture, write_folder, write_zip
from PIL import Image

from fmlab.data import ImageFolder
from fmlab.data import files as image_files
from fmlab.data.arrangement import arrange, split_named
from fmlab.data.contract import data_record, describe_record
from fmlab.data.decoding import decode
from fmlab.data.files import ImageFiles
from fmlab.errors import UserError

PETS = {f"{name}/{number}.png": encoded(picture(number)) for name in ("cat", "dog") for number in range(3)}


def names_in(*folders: str) -> list[str]:
    return sorted(
        f"{folder}/{name}/{number}.png" for folder in folders for name in ("cat", "dog") for number in range(3)
    )


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        *((name, "train") for name in ("train", "Train", "TRAIN", "training", "train2017", "training_set", "TrainSet")),
        *((name, "train") for name in ("trainset", "train-images", "imgs_train", "trainA", "train_01", "Train Set")),
        *((name, "validation") for name in ("val", "Val", "valid", "validation", "dev", "val2017", "dev_set", "eval")),
        *((name, "test") for name in ("test", "Testing", "test_images", "testB", "tst", "data.test")),
        *(
            (name, None)
            for name in ("trainers", "training-shoes", "test tube", "valley", "devil", "cat", "contest", "")
        ),
    ],
)
def test_the_names_of_splits(folder: str, split: str | None) -> None:
    assert split_named(folder) == split


@pytest.mark.parametrize(
    ("folders", "validation", "unused"),
    [
        (("train", "valid", "test"), "valid", {"test": 6}),
        (("Train", "Val"), "Val", {}),
        (("train", "dev"), "dev", {}),
        (("training_set", "test_set"), "test_set", {}),
        (("train2017", "val2017", "test2017"), "val2017", {"test2017": 6}),
        (("set/train", "set/dev"), "set/dev", {}),
    ],
)
def test_split_folders_are_recognised(folders: tuple[str, ...], validation: str, unused: dict[str, int]) -> None:
    layout = arrange(names_in(*folders), 0.1)
    assert layout.class_names == ["cat", "dog"]
    assert layout.train == names_in(folders[0])
    assert layout.validation == names_in(validation)
    assert layout.unused == unused


@pytest.mark.parametrize(
    "names",
    [
        names_in("train", "extra"),
        names_in("train", "test", "unlabelled"),
        names_in("trainA", "trainB", "testA", "testB"),
        names_in("train", "Train"),
        names_in("val", "test"),
        names_in("set/test"),
        ["cat/1.png", "dog/1.png", "test/1.png"],
        ["bus/1.png", "test/2.png", "train/3.png"],
        [f"{name}/{split}/1.png" for name in ("cat", "dog") for split in ("test", "train")],
        ["logo.png", *names_in("test", "train")],
    ],
)
def test_a_doubtful_layout_is_refused_in_one_line(names: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        arrange(sorted(names), 0.1)
    assert caught.value.key == "data.path"
    assert "\n" not in caught.value.message


def test_a_train_on_rails_is_a_class() -> None:
    assert arrange(["bus/1.png", "car/2.png", "train/3.png"], 0.1).class_names == ["bus", "car", "train"]


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".tga", ".jfif", ".JPG", ".PNG"])
def test_what_pillow_reads_is_read(tmp_path: Path, suffix: str) -> None:
    pixels = picture(1, 8, 8)
    for name in ("a", "b"):
        image = Image.fromarray(pixels)
        image.save(tmp_path / f"{name}{suffix}", format="JPEG" if suffix == ".jfif" else None)
    images = ImageFolder(str(tmp_path), 8, global_batch_size=1).split("train").take(torch.tensor([0]))
    assert images.shape == (1, 3, 8, 8)
    if suffix in (".bmp", ".tif", ".tiff", ".ppm", ".tga", ".PNG"):
        assert np.array_equal(images[0].numpy(), pixels.transpose(2, 0, 1))


def test_formats_that_start_other_programs_are_left_out(tmp_path: Path) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "a.eps")
    assert ImageFiles(tmp_path).left_out == {".eps files": ["a.eps"]}
    (tmp_path / "b.png").write_bytes((tmp_path / "a.eps").read_bytes())  # by another name
    with pytest.raises(UserError, match="cannot read the image"):
        ImageFiles(tmp_path).decode("b.png", 3, 8)


def test_links_are_followed_and_circles_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", PETS)
    write_folder(tmp_path / "elsewhere", {f"{number}.png": encoded(picture(number)) for number in range(3)})
    (tmp_path / "images/fox").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images/cat/again").symlink_to(tmp_path / "images")
    (tmp_path / "images/dog/9.png").symlink_to(tmp_path / "gone.png")
    files = ImageFiles(tmp_path / "images")
    assert files.names == sorted([*PETS, *(f"fox/{number}.png" for number in range(3))])
    assert files.left_out["broken links"] == ["dog/9.png"]
    assert "cat/again" in files.left_out["links that lead in a circle"]
    assert ImageFolder(str(tmp_path / "images"), 8).class_names == ["cat", "dog", "fox"]


@pytest.mark.parametrize(
    "change", [lambda name: f"./{name}", lambda name: name.replace("/", "\\"), lambda name: f"a//{name}"]
)
def test_zips_that_write_paths_otherwise_are_the_same_zip(tmp_path: Path, change: Any) -> None:
    plain, other = tmp_path / "plain.zip", tmp_path / "other.zip"
    write_zip(plain, PETS)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("./", b"")
        for name, content in PETS.items():
            archive.writestr(change(name), content)
    expected, data = ImageFolder(str(plain), 8), ImageFolder(str(other), 8)
    assert data.class_names == ["cat", "dog"]
    assert data.reference_hash() == expected.reference_hash()


def test_an_entry_of_zeros_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_LARGEST", 10_000)
    archive = write_zip(tmp_path / "bomb.zip", {**PETS, "cat/bomb.png": bytes(10_001)})
    with pytest.raises(UserError, match="it is larger than"):
        ImageFolder(str(archive), 8).setup()
    write_folder(tmp_path / "images", PETS)
    with (tmp_path / "images/cat/bomb.png").open("wb") as file:
        file.truncate(10_001)
    with pytest.raises(UserError, match="it is larger than"):
        ImageFolder(str(tmp_path / "images"), 8).setup()


def test_a_needle_of_an_image_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.new("L", (1, 60_000), 7).save(content, "PNG")
    sizes = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *rest: sizes.append(size) or resize(self, size, *rest)
    )
    assert (decode(content.getvalue(), 1, 64) == 7).all()
    assert sizes == [(64, 512)]


@pytest.mark.parametrize("memory_gib", [1.0, 0.0])
def test_damaged_files_are_skipped_up_to_a_number(tmp_path: Path, memory_gib: float) -> None:
    files = {**PETS, "cat/bad.png": b"x", "dog/worse.png": PETS["dog/0.png"][:60]}
    archive = str(write_zip(tmp_path / "pets.zip", files))
    for skip in (0, 1):
        with pytest.raises(UserError, match="cannot read the image") as caught:
            list(ImageFolder(archive, 8, memory_gib=memory_gib, num_workers=0, skip_bad=skip).reference_batches(8))
        assert ("skip_bad" in str(caught.value.hint)) == (skip == 0)
    data = ImageFolder(archive, 8, memory_gib=memory_gib, num_workers=0, skip_bad=2)
    splits = [data.split("train"), data.split("validation")]
    assert sum(map(len, splits)) == 6
    assert all(len(split) == len(split.labels) for split in splits if split.labels is not None)
    assert sum(len(split.take(torch.arange(len(split)))) for split in splits) == 6
    assert data.left_out == [
        f"2 damaged ({', '.join(sorted(['cat/bad.png', 'dog/worse.png'], key=data.damaged.index))})"
    ]


def test_the_line_at_the_start_says_what_is_used_and_what_is_not(tmp_path: Path) -> None:
    files = {f"{split}/{name}": content for split in ("train", "val", "test") for name, content in PETS.items()}
    folder = write_folder(tmp_path / "images", {**files, "train/cat/notes.txt": b"x", "val/.cache": b"x", "odd": b"x"})
    line = describe_record(data_record(ImageFolder(str(folder), 8)))
    assert line == (
        "ImageFolder, 3 x 8 x 8: 6 to train, 6 to validate; 2 classes: cat, dog; left out: 6 images in 'test'; "
        "1 files without a suffix (odd); 1 .txt files (train/cat/notes.txt); 1 hidden (val/.cache)"
    )


def test_sixteen_bits_become_eight() -> None:
    values = np.array([[0, 128, 129, 257], [32768, 65535, 65406, 65407]], dtype=np.uint16).repeat(4, 1).repeat(8, 0)
    for form in ("PNG", "TIFF"):
        content = io.BytesIO()
        Image.fromarray(values).save(content, form)
        assert np.array_equal(decode(content.getvalue(), 1, 16)[0], np.rint(values / 257).astype(np.uint8)), form
    for kind in (np.int32, np.float32):
        content = io.BytesIO()
        Image.fromarray(values.astype(kind)).save(content, "TIFF")
        with pytest.raises(ValueError, match="32 bits"):
            decode(content.getvalue(), 1, 16)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_are_white_whatever_colour_they_hide(mode: str, channels: int) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (4, 0, 8, 8))
    content, options = io.BytesIO(), {}
    if mode == "P":
        image = Image.fromarray((np.arange(64).reshape(8, 8) % 8 >= 4).astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 200, 10, 10])
        options = {"transparency": 1}
    elif mode in ("RGB", "L"):
        image = Image.fromarray(np.where(np.arange(64).reshape(8, 8) % 8 >= 4, 90, 0).astype(np.uint8)).convert(mode)
        options = {"transparency": 90 if mode == "L" else (90, 90, 90)}
    else:
        image = image.convert(mode)
    image.save(content, "PNG", **options)
    pixels = decode(content.getvalue(), channels, 8)
    assert (pixels[:, :, 4:] == 255).all()
    assert (pixels[:, :, :4] == 0).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    content = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(content, "PNG")
    assert decode(content.getvalue(), 3, 8)[:, 0, 0].tolist() == [255, 127, 127]


def test_a_fifo_is_no_image(tmp_path: Path) -> None:
    write_folder(tmp_path, PETS)
    os.mkfifo(tmp_path / "cat/pipe.png")
    assert ImageFiles(tmp_path).left_out == {"no files": ["cat/pipe.png"]}
