"""fmlab: a laboratory bench for flow matching, score matching and classifier-free guidance.

Importing the package is light; `fmlab.load(RUN)`, `fmlab.table(RUNS)` and the rooms (`fmlab.paths`, ...) import what
they need when they are first asked for.
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


_ROOMS = (
    *("data", "distributions", "fields", "figures", "inference", "metrics", "networks", "objectives", "paths"),
    *("solvers", "training"),
)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"fmlab.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'fmlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS, *(name for name in globals() if name.startswith("__"))})
