"""Arrays come out of pickles of any protocol; code that a pickle names is not run, nor imported."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from fmlab.records.pickles import read_arrays


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_back(protocol: int) -> None:
    content = {"mu": np.arange(6.0).reshape(2, 3), "scale": np.float64(0.5), "n": 3, "name": "fid", "raw": b"\xff"}
    result = read_arrays(io.BytesIO(pickle.dumps(content, protocol)))
    assert np.array_equal(result.pop("mu"), content.pop("mu"))
    assert result == content


@pytest.mark.parametrize("home", ["core", "_core"])
def test_arrays_of_numpy_1_and_2_come_back(home: str) -> None:
    content = pickle.dumps(np.arange(3), 0)
    name = b"cnumpy._core.multiarray\n"
    assert name in content
    renamed = content.replace(name, f"cnumpy.{home}.multiarray\n".encode())
    assert read_arrays(io.BytesIO(renamed)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["numpy.f2py ndarray", "numpy.f2py run_main", "numpy load", "builtins eval"])
def test_nothing_else_is_imported(name: str) -> None:
    """Not even another module of NumPy's, under a name that is allowed elsewhere."""
    sys.modules.pop("numpy.f2py", None)
    module, attribute = name.split()
    with pytest.raises(pickle.UnpicklingError, match="which is no part of an array"):
        read_arrays(io.BytesIO(f"c{module}\n{attribute}\n.".encode()))
    assert "numpy.f2py" not in sys.modules


def test_a_call_of_an_allowed_function_stays_within_its_purpose() -> None:
    import _codecs

    with pytest.raises(pickle.UnpicklingError, match="encodes text as bz2"):
        read_arrays(io.BytesIO(pickle.dumps(Calls(_codecs.encode, "text", "bz2"))))
