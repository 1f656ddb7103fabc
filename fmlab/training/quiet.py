"""Messages of Lightning that are not about the user's run."""

from __future__ import annotations

import logging
import os
import warnings

_WARNINGS = (
    ".*does not have many workers.*",  # the data is in memory
    ".*treespec, LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*`srun` command is available.*",  # on a cluster's login node, or in an allocation of one task
)


def silence_lightning() -> None:
    """Turns off log lines and warnings that a user can do nothing about."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning 2.6 makes calls that 4.x deprecates
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in _WARNINGS:
        warnings.filterwarnings("ignore", pattern)
