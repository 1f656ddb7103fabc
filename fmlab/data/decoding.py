"""From files of images, in a folder or in a zip, to uint8 tensors of one size."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fmlab.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")
_IMAGES_A_TASK = 64


class ImageFiles:
    """The image files under a folder or in a zip, named by their path within it, with forward slashes.

    It can be pickled and forked: every process opens the zip for itself.

    Args:
        path: A folder or a zip.

    Raises:
        UserError: When it is neither.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._zips: dict[int, zipfile.ZipFile] = {}
        self._lock = threading.Lock()
        if self.path.is_dir():
            names = [file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()]
        elif zipfile.is_zipfile(self.path):
            names = self._zip().namelist()
            outside = next((name for name in names if _leaves_folder(name)), None)
            if outside is not None:  # nothing is unpacked here, but such a zip may be an attack
                raise UserError(f"'{self.path}' holds '{outside}', a path that leaves its folder", key="data.path")
        else:
            problem = "is neither a folder nor a zip" if self.path.exists() else "does not exist"
            raise UserError(f"'{self.path}' {problem}", key="data.path")
        self.names = sorted(name for name in names if _is_image(name))

    def read(self, name: str) -> bytes:
        """The content of one file."""
        return (self.path / name).read_bytes() if self.path.is_dir() else self._zip().read(name)

    def decode(self, name: str, channels: int, size: int) -> np.ndarray:
        """One image as uint8 (channels, size, size); see `decode`.

        Raises:
            UserError: When the file is damaged.
        """
        try:
            return decode(self.read(name), channels, size)
        except Exception as error:  # decoders fail in any of many ways
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"cannot read the image '{name}' in '{self.path}' ({reason})", key="data.path") from error

    def decode_all(self, names: list[str], channels: int, size: int) -> Tensor:
        """Many images as uint8 (N, channels, size, size), decoded by as many threads as there are processors."""
        images = np.empty((len(names), channels, size, size), dtype=np.uint8)

        def decode_some(start: int) -> None:
            for row in range(start, min(start + _IMAGES_A_TASK, len(names))):
                images[row] = self.decode(names[row], channels, size)

        with ThreadPoolExecutor(processors()) as threads:
            # Taking the results raises the first error; the tasks not yet begun are then dropped.
            tasks = [threads.submit(decode_some, start) for start in range(0, len(names), _IMAGES_A_TASK)]
            try:
                for task in tasks:
                    task.result()
            finally:
                threads.shutdown(cancel_futures=True)
        return torch.from_numpy(images)

    def _zip(self) -> zipfile.ZipFile:
        with self._lock:
            if os.getpid() not in self._zips:
                # A process that shares its parent's open file would share the position in it too.
                self._zips = {os.getpid(): zipfile.ZipFile(self.path)}
            return self._zips[os.getpid()]

    def __getstate__(self) -> dict:
        return {"path": self.path, "names": self.names}

    def __setstate__(self, state: dict) -> None:
        self.path, self.names = state["path"], state["names"]
        self._zips, self._lock = {}, threading.Lock()


def decode(content: bytes, channels: int, size: int) -> np.ndarray:
    """Decodes one image, upright, resizes its shorter side to `size` and cuts out the middle square.

    The resize is Pillow's bicubic, which averages over all the pixels that one output pixel covers (antialiased). An
    image that already is size x size keeps its pixels.

    Args:
        content: A PNG or JPEG file.
        channels: 1 for grey, 3 for colour.
        size: The side of the result.

    Returns:
        uint8 of shape (channels, size, size).
    """
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        image = opened.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)


def _leaves_folder(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]


def _is_image(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and parts[-1].lower().endswith(SUFFIXES)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
