"""What a sweep tells the runs it starts: by environment variables, as W&B's agents do."""

from __future__ import annotations

import os
from pathlib import Path

TRIAL = "FMLAB_TRIAL"
"""The folder in which a trial's run goes."""
TRIAL_SWEEP = "FMLAB_SWEEP"
"""The name of the sweep that started it."""


def trial_folder() -> Path | None:
    """Where this process's run goes, if it is a trial of a sweep on this machine or cluster."""
    place = os.environ.get(TRIAL)
    return Path(place) if place else None


def sweep_of_process() -> dict[str, str] | None:
    """The sweep that started this process, and which trial of it this is; W&B's id where its agent did."""
    place = trial_folder()
    if place is not None:
        return {"sweep": os.environ.get(TRIAL_SWEEP, place.parent.name), "trial": place.name}
    if os.environ.get("WANDB_SWEEP_ID"):
        return {"sweep": os.environ["WANDB_SWEEP_ID"], "trial": os.environ.get("WANDB_RUN_ID", "")}
    return None
