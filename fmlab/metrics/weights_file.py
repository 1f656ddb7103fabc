"""Where the weights of a large feature network lie. They are never fetched unasked, and never random."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from fmlab.errors import UserError


def checkpoint_folder() -> Path:
    """Where torch hub keeps the weights it downloads: `hub/checkpoints` in $TORCH_HOME."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def weights_file(features: str, path: str | Path | None, variable: str, cached: Path, url: str) -> Path:
    """The file of weights: the path given, the one an environment variable names, or torch hub's own copy.

    Args:
        features: The network's name in an error.
        path: The file, where it is given.
        variable: The environment variable that may name it.
        cached: Where torch hub would keep it.
        url: Where it is to be had.

    Raises:
        UserError: There is none, saying which file is wanted and from where.
    """
    named = path or os.environ.get(variable)
    file = Path(named).expanduser() if named else cached
    if file.is_file():
        return file
    raise UserError(
        f"there are no {features} weights at {file}; they come from {url}",
        key="features",
        hint=f"put the file there, or name it in ${variable}; or choose features: domain",
    )
