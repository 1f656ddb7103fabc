"""The samples that an evaluation leaves: a folder of images or one `.npz`, and those nearest to training images."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from fmlab.errors import UserError
from fmlab.evaluation.cells import Cell, Draws
from fmlab.evaluation.sources import SampleSource
from fmlab.figures import neighbours_picture, save_png
from fmlab.inference.trained import Trained
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.neighbours import NearestNeighbours

NEAREST_SHOWN = 12
NEAREST_PREFIX = "neighbours_"


class SampleStore(Protocol):
    """Where the samples of one cell go, batch by batch as they come."""

    def done(self) -> bool:
        """Whether it holds all samples of this very cell already."""

    def begin(self) -> bool:
        """Makes the store ready; true if an interrupted evaluation of this cell left samples there.

        The first process calls it before any other adds.
        """

    def add(self, start: int, samples: Tensor) -> None:
        """Keeps uint8 images (B, C, H, W) or points (B, D), the first of which is sample number `start`."""

    def finish(self) -> None:
        """Closes it, once every process has added all of its own."""


class SampleImages:
    """One PNG per sample, and a file `evaluation` that names their cell.

    Args:
        folder: Where they go.
        key: The cell's key.
        draws: The samples, with their labels.
    """

    def __init__(self, folder: Path, key: str, draws: Draws) -> None:
        self.folder, self.key, self.draws = folder, key, draws
        self.finished, self.unfinished = folder / "evaluation", folder / ".unfinished"

    def file(self, index: int) -> Path:
        """The file of a sample: `000012_class3.png`."""
        label = "" if self.draws.labels is None else f"_class{self.draws.labels[index]}"
        return self.folder / f"{index:06d}{label}.png"

    def done(self) -> bool:
        """Whether the folder holds this cell."""
        return self.finished.is_file() and self.finished.read_text() == self.key

    def begin(self) -> bool:
        """Makes the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.finished.unlink(missing_ok=True)
        if self.unfinished.is_file() and self.unfinished.read_text() == self.key:
            return True
        self.unfinished.write_text(self.key)
        return False

    def add(self, start: int, samples: Tensor) -> None:
        """Writes a file for each image."""
        for index, image in enumerate(samples.permute(0, 2, 3, 1).cpu().numpy(), start):
            save_png(image.repeat(3, 2) if image.shape[2] == 1 else image, self.file(index))

    def finish(self) -> None:
        """Names the cell whose images they are."""
        self.unfinished.replace(self.finished)


class SampleArchive:
    """A `.npz` with `images` (uint8, NHWC, as evaluators read them) or `points`, `labels`, and the cell's key.

    The samples are written to their places in a file on the disk, whichever process makes them, and packed at the end.

    Args:
        file: The `.npz`.
        key: The cell's key.
        draws: The samples, with their labels.
        shape: Of one sample.
    """

    def __init__(self, file: Path, key: str, draws: Draws, shape: tuple[int, ...]) -> None:
        self.target, self.key, self.draws = file, key, draws
        self.images = len(shape) == 3
        self.shape = (draws.count, *shape[1:], shape[0]) if self.images else (draws.count, math.prod(shape))
        self.raw = file.with_name(f".{file.stem}.{key[:16]}.npy")

    def done(self) -> bool:
        """Whether the file holds this cell."""
        try:
            with np.load(self.target) as arrays:  # which reads what is asked for alone
                return str(arrays["evaluation"]) == self.key
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return False

    def begin(self) -> bool:
        """Makes the file on the disk."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.raw.is_file():
            return True
        kind = np.dtype(np.uint8 if self.images else np.float32)
        np.lib.format.open_memmap(self.raw, mode="w+", dtype=kind, shape=self.shape).flush()
        return False

    def add(self, start: int, samples: Tensor) -> None:
        """Writes the samples to their places."""
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


def write_nearest(
    folder: Path, trained: Trained, source: SampleSource, metrics: MetricSet, cell: Cell, key: str
) -> None:
    """Writes `neighbours_SOLVER_KEY.png`: the samples that lie nearest to training images, beside those images.

    It is written where neighbours of images were measured; the samples are generated once more.

    Args:
        folder: The evaluation's.
        trained: The network.
        source: What gives the samples.
        metrics: What measured them all.
        cell: How the samples are generated.
        key: The cell's.
    """
    metric = metrics.metrics.get("neighbours")
    if isinstance(metric, NearestNeighbours) and metrics.parts.data.kind == "images":
        places, nearest, distances = metric.nearest_pairs(NEAREST_SHOWN)
        samples, _ = source.produce(cell, trained, places)
        name = f"{NEAREST_PREFIX}{type(cell.solver).__name__}{cell.steps}_{key[:6]}.png"
        save_png(neighbours_picture(samples, nearest, distances), folder / name)
