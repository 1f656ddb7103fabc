"""Pairs of low and high resolution: a batch that brings its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fmlab.data.base import DataModule, ImageData
from fmlab.data.pixels import to_float
from fmlab.data.sets import BatchSet
from fmlab.errors import UserError


class SuperResolution(DataModule):
    """Images as data, and the same images at low resolution as the source that goes with each of them.

    A batch is a mapping with `data` and `source`, for a model with `source: batch`. The source is the image averaged
    over squares of `factor` x `factor` pixels and enlarged again, bilinearly. Labels are left out.

    Attributes:
        images: The images themselves.

    Args:
        images: The images; their `flip` must be off.
        factor: How many times smaller the low resolution is; it divides height and width.
        global_batch_size: Images an optimizer step, over all devices and accumulated batches.
        seed: The key of the training order.

    Raises:
        UserError: When the factor does not divide the images, or they are to be flipped.
    """

    kind = "images"

    def __init__(self, images: ImageData, factor: int = 4, global_batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(global_batch_size, seed, images.reference)
        channels, height, width = images.shape
        if factor < 2 or height % factor or width % factor:
            choices = [n for n in range(2, min(height, width) + 1) if height % n == 0 and width % n == 0]
            raise UserError(
                f"{factor} does not make {height} x {width} images smaller by a whole factor",
                key="data.factor",
                hint=f"these do: {', '.join(map(str, choices))}",
            )
        if images.flip:
            raise UserError("a flip would reach the image and not its source", key="data.images.flip")
        self.images, self.factor, self.shape = images, factor, (channels, height, width)

    def prepare_data(self) -> None:
        self.images.prepare_data()

    def read(self) -> tuple[BatchSet, BatchSet]:
        train, validation = self.images.read()
        return _Unlabelled(train), _Unlabelled(validation)

    @property
    def left_out(self) -> Sequence[str]:
        return self.images.left_out

    def low_resolution(self, x: Tensor) -> Tensor:
        """Float images (B, C, H, W) averaged over squares and enlarged to their own size again."""
        small = functional.avg_pool2d(x, self.factor)
        return functional.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Scales images to [-1, 1] on the device and adds their sources."""
        data = to_float(batch)
        return {"data": data, "source": self.low_resolution(data)}

    def pairs(self, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Data and source, float (B, C, H, W): the validation images of those seeds, counted round."""
        validation = self.split("validation")
        data = to_float(validation.take(torch.tensor([seed % len(validation) for seed in seeds])))
        return data, self.low_resolution(data)

    def sources(self, seeds: Sequence[int]) -> Tensor:
        """What sampling starts from: the low resolution of the validation image of each seed."""
        return self.pairs(seeds)[1]


class _Unlabelled(BatchSet):
    """A split without its labels."""

    labels = None

    def __init__(self, examples: BatchSet) -> None:
        self.examples = examples

    def take(self, rows: Tensor) -> Tensor:
        return self.examples.take(rows)

    @property
    def content_hash(self) -> str:
        return self.examples.content_hash

    @property
    def fingerprint(self) -> str:
        return self.examples.fingerprint

    @property
    def fingerprint_of(self) -> str:
        return self.examples.fingerprint_of

    def __len__(self) -> int:
        return len(self.examples)
