"""The names under which scores are logged."""

from __future__ import annotations

from typing import Literal

Score = Literal[
    "fid", "kid", "kid_subsets", "is", "precision", "recall", "density", "coverage", "accuracy", "w2", "mmd"
]


def metric_key(score: Score, features: str | None = None, prefix: str = "val") -> str:
    """The key of a score: `val/fid` with Inception, else named after the features, `val/fid_domain`; `val/w2`.

    Args:
        score: `w2` and `mmd` compare points as they are; all others see images through features.
        features: Name of the feature network, None for points.
        prefix: What stands before the slash; without one there is no slash.
    """
    suffix = "" if features in (None, "inception") else f"_{features}"
    return f"{prefix}/{score}{suffix}" if prefix else f"{score}{suffix}"


def spread_key(key: str) -> str:
    """The key of a score's spread: `val/fid_domain_std` beside `val/fid_domain`."""
    return f"{key}_std"
