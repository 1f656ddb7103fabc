"""Small files in the formats that the data modules read."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 12, height: int = 10, channels: int = 3) -> np.ndarray:
    """A random image as (height, width) or (height, width, 3)."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: np.ndarray, suffix: str = ".png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG" if suffix == ".jpg" else "PNG")
    return buffer.getvalue()


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in reversed(files.items()):  # the order in the archive must not matter
            archive.writestr(name, content)
    return path


def write_fashion_mnist(root: Path, train: int = 20, test: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Files as torchvision has them on disk; returns the training images and labels."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    written = []
    for part, count in (("train", train), ("t10k", test)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, magic, array in (("images-idx3", 2051, images), ("labels-idx1", 2049, labels)):
            header = b"".join(int(number).to_bytes(4, "big") for number in (magic, *array.shape))
            (raw / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
        written.append((images, labels))
    return written[0]


def write_cifar10(root: Path, a_batch: int = 4) -> np.ndarray:
    """Files as torchvision has them on disk; returns the training images."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = []
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        data = np.random.default_rng(number).integers(0, 256, (a_batch, 3072), dtype=np.uint8)
        labels = [(number + row) % 10 for row in range(a_batch)]
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels}, protocol=2))
        images.append(data.reshape(-1, 3, 32, 32))
    return np.concatenate(images[:5])
