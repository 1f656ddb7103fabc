"""fmlab: a laboratory bench for flow matching, score matching and classifier-free guidance.

Importing the package is light; `fmlab.load(RUN)` and `fmlab.table(RUNS)` import what they need when called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fmlab._version import __version__

if TYPE_CHECKING:
    from fmlab.comparison.frame import table
    from fmlab.inference.load import load

__all__ = ["__version__", "load", "table"]

_HOMES = {"load": "fmlab.inference.load", "table": "fmlab.comparison.frame"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fmlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
