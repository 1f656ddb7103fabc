"""Pictures of few colours, which make small files: the colours of the figures are kept to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fmlab.figures.panel import GIVEN, INK, POINT, time_colours

OWN = ("#ffffff", INK, POINT, GIVEN)
STEPS = 24
"""So many colours of time are kept beside them, from t = 0 to t = 1."""


def shared_palette(pictures: Sequence[np.ndarray], count: int) -> np.ndarray:
    """The figures' own colours and so many that the pictures have most, uint8 of shape (colours, 3).

    Args:
        pictures: uint8 of shape (height, width, 3).
        count: How many are chosen from the pictures; with the own ones at most 256.
    """
    from PIL import Image, ImageColor

    strip = Image.fromarray(np.concatenate(list(pictures)))
    chosen = strip.quantize(count, method=Image.Quantize.MEDIANCUT).getpalette() or []
    own = np.array([ImageColor.getrgb(colour) for colour in OWN])
    time = np.round(255 * time_colours()(np.linspace(0, 1, STEPS))[:, :3])
    return np.concatenate([own, time, np.array(chosen).reshape(-1, 3)]).astype(np.uint8)


def with_palette(picture: np.ndarray, palette: np.ndarray) -> Any:
    """A PIL image in which each pixel has the nearest colour of the palette."""
    from PIL import Image

    codes = picture.astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
    there, place = np.unique(codes, return_inverse=True)
    colours = np.stack([there >> 16, there >> 8 & 255, there & 255], 1).astype(np.float32)
    known = palette.astype(np.float32)
    # |c - p|^2 less |c|^2, which is the same for all p.
    nearest = np.argmin(np.square(known).sum(1) - 2 * colours @ known.T, axis=1).astype(np.uint8)
    image = Image.fromarray(nearest[place].reshape(codes.shape))
    image.putpalette(palette.flatten().tolist())
    return image
