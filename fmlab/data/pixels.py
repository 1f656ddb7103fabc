"""The one rounding rule between uint8 images and the floats inside: images are in [-1, 1], pixel u is u / 127.5 - 1."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 images of any shape as float32 in [-1, 1]: `u / 127.5 - 1`."""
    return images.to(torch.float32) / 127.5 - 1.0


def to_uint8(images: Tensor) -> Tensor:
    """Float images of any shape as uint8: `floor(clip(127.5 x + 128, 0, 255))`.

    For pixels that come from `to_float` the argument of the floor is u + 1/2, as far from a step as it can be, so the
    round trip is exact. Values outside [-1, 1] are clipped.
    """
    return (images.to(torch.float32) * 127.5 + 128.0).clamp(0.0, 255.0).to(torch.uint8)
