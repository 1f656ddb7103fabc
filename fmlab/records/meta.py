"""What a run ran on: versions, git state, host, command line, seed, and the sweep that it is a trial of."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from fmlab._version import __version__
from fmlab.records.atomic import atomic_write_json
from fmlab.records.bounded import read_json_object
from fmlab.records.layout import RunLayout
from fmlab.records.secrets import values_without_secrets

TRIAL = "FMLAB_TRIAL"
"""The environment variable with the folder of a trial's run; sweeps set it, as W&B's agents set theirs."""
TRIAL_SWEEP = "FMLAB_SWEEP"
"""The environment variable with the name of the sweep that started it."""

_PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "torch-fidelity",
    "timm",
    "diffusers",
    "wandb",
    "omegaconf",
    "numpy",
    "scipy",
    "scikit-learn",
)


def write_meta(layout: RunLayout, argv: Sequence[str], seed: int, import_folders: Sequence[str] = ()) -> None:
    """Records what this process runs on.

    Args:
        layout: The run's folder.
        argv: The command line as typed.
        seed: The run's seed.
        import_folders: The folders in which the user's own parts were found.
    """
    content = {
        "created": datetime.now().isoformat(timespec="microseconds"),
        "argv": list(argv),
        "seed": seed,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "folder": os.getcwd(),
        "import_folders": list(import_folders),
        "versions": versions(),
        "sweep": sweep_of_process(),
        "git": {"fmlab": git_state(Path(__file__).parent), "folder": git_state(Path.cwd())},
    }
    atomic_write_json(layout.meta, values_without_secrets(content))


def add_to_meta(layout: RunLayout, **facts: Any) -> None:
    """Records what is known only once the run's objects are built, beside what the record has."""
    atomic_write_json(layout.meta, {**read_meta(layout), **facts})


def read_meta(layout: RunLayout) -> dict[str, Any]:
    """What `write_meta` recorded; empty if it cannot be read."""
    return read_json_object(layout.meta)


def versions() -> dict[str, str]:
    """Versions of Python, fmlab and what it stands on, as installed; what is not installed is left out."""
    installed = {"python": platform.python_version(), "fmlab": __version__}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def trial_folder() -> Path | None:
    """Where this process's run goes, if it is a trial of a sweep on this machine or cluster."""
    folder = os.environ.get(TRIAL)
    return Path(folder) if folder else None


def sweep_of_process() -> dict[str, str] | None:
    """The sweep that started this process, and which of its trials this is; W&B's id where its agent did."""
    folder = trial_folder()
    if folder is not None:
        return {"sweep": os.environ.get(TRIAL_SWEEP, folder.parent.name), "trial": folder.name}
    if os.environ.get("WANDB_SWEEP_ID"):
        return {"sweep": os.environ["WANDB_SWEEP_ID"], "trial": os.environ.get("WANDB_RUN_ID", "")}
    return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit checked out in a folder, and whether the code there differs from it.

    Changed tracked files count, and Python files git does not know; other unknown files do not. None where there is no
    git or no repository with a commit.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = (_git(folder, "status", "--porcelain") or "").splitlines()
    dirty = any(not line.startswith("??") or line.endswith(".py") for line in changes)
    return {"commit": commit.strip(), "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        process = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout
