"""Waiting for what a real SLURM does, on the one that `tests/slurm/start.sh` starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CONF = Path("/tmp/fmlab-slurm/slurm.conf")
PATIENCE = 300.0  # seconds for anything that is to happen; a slow machine is no failure


def answers() -> bool:
    if shutil.which("sbatch") is None:
        return False
    environment = {**os.environ, **({"SLURM_CONF": str(CONF)} if CONF.is_file() else {})}
    try:
        done = subprocess.run(["sinfo", "-h"], env=environment, capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


NEEDS_SLURM = pytest.mark.skipif(not answers(), reason="no SLURM answers here; sudo tests/slurm/start.sh starts one")


def settle(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Goes to a folder of the test's own, with the settings and the caches of nobody else."""
    if CONF.is_file():
        patch.setenv("SLURM_CONF", str(CONF))
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.chdir(folder)


def until(what: str, happened: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.3)


def queued(job: str) -> list[str]:
    """The states of a job's tasks."""
    argv = ["squeue", "-h", "--states=all", "--array", "-o", "%T", f"--jobs={job}"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()


def cancel(job: str) -> None:
    subprocess.run(["scancel", job], capture_output=True, check=False)
