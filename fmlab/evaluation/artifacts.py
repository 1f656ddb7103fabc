"""The samples that an evaluation leaves: a folder of images or one `.npz`, and those nearest to training images."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from fmlab.errors import UserError
from fmlab.evaluation.cells import Draws
from fmlab.figures import neighbours_picture, save_png
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.neighbours import NearestNeighbours
from fmlab.records.arrays import read_npz

NEAREST_SHOWN = 12
NEAREST_PREFIX = "neighbours_"


class SampleImages:
    """One PNG per sample, and a file `evaluation` that names their cell.

    The first process calls `begin` before any other adds, and `finish` once every process has added all of its own.

    Args:
        folder: Where they go.
        key: The cell's key.
        draws: The samples, with their labels.
    """

    def __init__(self, folder: Path, key: str, draws: Draws) -> None:
        self.folder, self.key, self.draws = folder, key, draws
        self.finished, self.unfinished = folder / "evaluation", folder / ".unfinished"

    def done(self) -> bool:
        """Whether the folder holds all samples of this cell."""
        return self.finished.is_file() and self.finished.read_text() == self.key

    def begin(self) -> bool:
        """Makes the folder; true if an interrupted evaluation of this cell left samples there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.finished.unlink(missing_ok=True)
        if self.unfinished.is_file() and self.unfinished.read_text() == self.key:
            return True
        self.unfinished.write_text(self.key)
        return False

    def add(self, start: int, samples: Tensor) -> None:
        """Writes a file for each of the uint8 images (B, C, H, W), such as `000012_class3.png`."""
        for index, image in enumerate(samples.permute(0, 2, 3, 1).cpu().numpy(), start):
            label = "" if self.draws.labels is None else f"_class{self.draws.labels[index]}"
            file = self.folder / f"{index:06d}{label}.png"
            save_png(image.repeat(3, 2) if image.shape[2] == 1 else image, file)

    def finish(self) -> None:
        """Names the cell whose images they are."""
        self.unfinished.replace(self.finished)


class SampleArchive:
    """A `.npz` with `images` (uint8, NHWC, as evaluators read them) or `points`, `labels`, and the cell's key.

    The samples are written to their places in a file on the disk, whichever process makes them, and packed at the end.
    It is used as `SampleImages` are, and holds points as well; `shape` is that of one sample.
    """

    def __init__(self, file: Path, key: str, draws: Draws, shape: tuple[int, ...]) -> None:
        self.target, self.key, self.draws = file, key, draws
        self.images = len(shape) == 3
        self.shape = (draws.count, *shape[1:], shape[0]) if self.images else (draws.count, math.prod(shape))
        self.raw = file.with_name(f".{file.stem}.{key[:16]}.npy")

    def done(self) -> bool:
        """Whether the file holds all samples of this cell."""
        try:
            with self.target.open("rb") as file:
                return str(read_npz(file, ["evaluation"])["evaluation"]) == self.key
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return False

    def begin(self) -> bool:
        """Makes the file on the disk; true if an interrupted evaluation of this cell left one."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.raw.is_file():
            return True
        kind = np.dtype(np.uint8 if self.images else np.float32)
        np.lib.format.open_memmap(self.raw, mode="w+", dtype=kind, shape=self.shape).flush()
        return False

    def add(self, start: int, samples: Tensor) -> None:
        """Writes uint8 images (B, C, H, W) or points (B, D) to their places from `start` on."""
        rows = samples.permute(0, 2, 3, 1) if self.images else samples.float()
        samples_on_disk = np.lib.format.open_memmap(self.raw, mode="r+")
        samples_on_disk[start : start + len(rows)] = rows.cpu().numpy()
        samples_on_disk.flush()

    def finish(self) -> None:
        """Packs the file with the labels and the key."""
        part = self.target.with_suffix(".part.npz")
        with zipfile.ZipFile(part, "w") as packed:
            packed.write(self.raw, f"{'images' if self.images else 'points'}.npy")
            labels = {} if self.draws.labels is None else {"labels": self.draws.labels.numpy()}
            for name, array in {**labels, "evaluation": np.array(self.key)}.items():
                with packed.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array)
        part.replace(self.target)
        self.raw.unlink()


SampleStore = SampleImages | SampleArchive


def open_store(target: Path, key: str, draws: Draws, shape: tuple[int, ...]) -> SampleStore:
    """The store of the samples of a cell: a `.npz`, or a folder of images.

    Raises:
        UserError: If points are to be images.
    """
    if target.suffix == ".npz":
        return SampleArchive(target, key, draws, shape)
    if len(shape) != 3:
        raise UserError("points are not images", key="keep", hint=f"write --keep {target}.npz")
    return SampleImages(target, key, draws)


def write_nearest(file: Path, metrics: MetricSet, produce: Callable[[Tensor], Tensor]) -> None:
    """Draws the samples that lie nearest to training images beside those, where neighbours of images were measured.

    Args:
        file: The picture.
        metrics: What measured them all.
        produce: Makes the samples at these places once more.
    """
    metric = metrics.metrics.get("neighbours")
    if isinstance(metric, NearestNeighbours) and metrics.parts.data.kind == "images":
        places, nearest, distances = metric.nearest_pairs(NEAREST_SHOWN)
        save_png(neighbours_picture(produce(places), nearest, distances), file)
