"""The names under which scores are logged."""

from __future__ import annotations

from typing import Literal


def metric_key(distance: Literal["fid", "kid", "w2", "mmd"], features: str | None = None, prefix: str = "val") -> str:
    """The key of a distance: `val/fid` with Inception, else named after the features, `val/fid_domain`; `val/w2`.

    Args:
        distance: `fid` and `kid` compare images through features; `w2` and `mmd` compare points as they are.
        features: Name of the feature network, None for points.
        prefix: What stands before the slash.
    """
    suffix = "" if features in (None, "inception") else f"_{features}"
    return f"{prefix}/{distance}{suffix}"
