"""Reads other projects' pickles without running their code: plain values and NumPy arrays, and nothing else."""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

import numpy as np


def read_arrays(file: BinaryIO, encoding: str = "ASCII") -> Any:
    """What a pickle of plain values and NumPy arrays holds.

    A pickle names the functions that rebuild its objects, and so it may name any function. This reader looks each name
    up in a short table, in which both names of NumPy's own functions stand, that of NumPy 1 and that of NumPy 2.

    Args:
        file: The open file.
        encoding: How Python 2's strings are read; its arrays need `latin1`.

    Raises:
        pickle.UnpicklingError: If the pickle names anything else.
    """
    return _ArrayUnpickler(file, encoding=encoding).load()


def _encode_latin1(text: str, encoding: str) -> bytes:
    """The bytes that Python 3 pickles as text for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding}")
    return text.encode("latin1")


_NUMPY = {
    ("multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("multiarray", "scalar"): np.float64(0).__reduce__()[0],
    ("numeric", "_frombuffer"): np.empty(0).__reduce_ex__(5)[0],
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
    **{(f"numpy.core.{module}", name): function for (module, name), function in _NUMPY.items()},
    **{(f"numpy._core.{module}", name): function for (module, name), function in _NUMPY.items()},
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of an array")
        return _ALLOWED[module, name]
