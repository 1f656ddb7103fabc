"""fmlab: a laboratory bench for flow matching, score matching and classifier-free guidance.

Importing the package is light; `fmlab.load(RUN)` and `fmlab.table(RUNS)` import what they need when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmlab._version import __version__

if TYPE_CHECKING:
    from fmlab.comparison.frame import table
    from fmlab.inference.load import load

__all__ = ["__version__", "load", "table"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from fmlab.inference.load import load

        return load
    if name == "table":
        from fmlab.comparison.frame import table

        return table
    raise AttributeError(f"module 'fmlab' has no attribute {name!r}")
