"""From the bytes of an image file, in any format that Pillow reads, to uint8 pixels of one size."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageOps

_NOT_OPENED = {"EPS", "PDF", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
"""Formats that Pillow hands to another program (Ghostscript) or only recognises."""
_BACKGROUND = "white"
_LONGEST = 8
"""How many times longer than wide an image may be before its ends are cut off: they would be resized for nothing."""


@cache
def readable() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The formats that are read, and the suffixes of their files."""
    Image.init()
    formats = tuple(sorted(set(Image.OPEN) - _NOT_OPENED))
    return formats, tuple(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def decode(content: bytes, channels: int, size: int) -> np.ndarray:
    """Decodes one image, upright, resizes its shorter side to `size` and cuts out the middle square.

    Transparent pixels are laid over white. 16 bits become 8 by rounding v / 257; a palette becomes its colours; of a
    film the first picture is taken. The resize is Pillow's bicubic, which averages over all the pixels that one output
    pixel covers (antialiased). An image that already is size x size keeps its pixels.

    Args:
        content: An image file.
        channels: 1 for grey, 3 for colour.
        size: The side of the result.

    Returns:
        uint8 of shape (channels, size, size).

    Raises:
        ValueError: If the pixels are numbers of 32 bits, whose range nobody knows. Decoders raise any exception.
    """
    with Image.open(io.BytesIO(content), formats=readable()[0]) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        image = _opaque(_eight_bits(opened)).convert("L" if channels == 1 else "RGB")
    if max(image.size) > _LONGEST * min(image.size):
        image = _middle(image, *(min(side, _LONGEST * min(image.size)) for side in image.size))
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = _middle(image.resize((width, height), Image.Resampling.BICUBIC), size, size)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)


def _middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey images of 16 bits with 8; Pillow's own conversion makes all of them white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.uint32)
        grey = ((values + 128) // 257).astype(np.uint8)
        if "transparency" in image.info:  # the one value that is transparent
            grey[values == image.info["transparency"]] = 255
        return Image.fromarray(grey)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are numbers of 32 bits, whose range is not known: save it with 8 or 16 bits")
    return image


def _opaque(image: Image.Image) -> Image.Image:
    """The image laid over the background: under transparency any colour may be hidden."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image)
