"""Arrays from elsewhere: what is sound is read, and what is hostile is refused before it takes memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from fmlab.records.arrays import read_npz


def header(shape: str, kind: str = "'|u1'") -> bytes:
    """The beginning of an array's file."""
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text


def packed(content: bytes, compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    """A zip with this as its array `mu`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("mu.npy", content)
    return file


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_and_others_are_not_read(save: Callable[..., None]) -> None:
    table = np.arange(6.0).reshape(2, 3)
    arrays = {"mu": table, "n": np.int64(3), "key": np.str_("ab"), "columns": np.asfortranarray(table)}
    file = io.BytesIO()
    save(file, **arrays, other=np.array([object()]))
    loaded = read_npz(file, [*arrays, "absent"])
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    assert read_npz(packed(header("(2,)") + b"ab"), ["mu"])["mu"].tolist() == [97, 98]


@pytest.mark.parametrize(
    ("content", "compression"),
    [
        (header("(300000000,)") + bytes(300_000_000), zipfile.ZIP_DEFLATED),
        (header("(3,)") + bytes(3), zipfile.ZIP_BZIP2),
        (header("(3,)") + bytes(3), zipfile.ZIP_LZMA),
        (header("(3000000000,)") + bytes(8), zipfile.ZIP_STORED),
        (header("(10,)") + bytes(8), zipfile.ZIP_STORED),
        (header("(-1,)") + bytes(8), zipfile.ZIP_STORED),
        (header("(1,)", "'|O'") + bytes(8), zipfile.ZIP_STORED),
        (header("(" + "1," * 20000 + ")") + b"a", zipfile.ZIP_STORED),
        (b"\x93NUMPY\x09\x00" + bytes(80), zipfile.ZIP_STORED),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", zipfile.ZIP_STORED),
        (b"mu", zipfile.ZIP_STORED),
    ],
    ids=["bomb", "bzip2", "lzma", "claim", "short", "negative", "object", "header", "version", "length", "text"],
)
def test_what_is_hostile_is_refused_before_it_takes_memory(content: bytes, compression: int) -> None:
    file = packed(content, compression)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^mu |magic|header|EOF"):
            read_npz(file, ["mu"])
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
