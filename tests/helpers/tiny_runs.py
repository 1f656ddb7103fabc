"""Tiny runs of the real command, in this process or in one of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fmlab.records import RunLayout

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"

TINY = [
    "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
    "--trainer.log_every_n_steps=2",
    "--model.network.width=16",
    "--model.network.depth=1",
    "--model.network.heads=2",
    "--fid.num_samples=20",
    "--fid.steps=2",
    "--samples.columns=2",
    "--samples.steps=2",
    "--wandb.mode=disabled",
]


def arguments(
    folder: Path, *extra: str, experiment: str | Path = "digits", steps: int = 4, validate: int = 2
) -> list[str]:
    """The words after `fmlab fit` for a tiny run under `folder`."""
    file = EXPERIMENTS / f"{experiment}.yaml" if isinstance(experiment, str) else experiment
    limits = [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={validate}", f"--run.dir={folder}"]
    return ["--config", str(file), *TINY, *limits, *extra]


def fit_main(argv: list[str]) -> int:
    """`fmlab fit` in this process, except that a mistake raises its UserError."""
    from fmlab.commands.fit import FitOptions, run
    from fmlab.config.options import parse_options

    return run(parse_options(FitOptions, argv, "fit"))


def newest(folder: Path, name: str = "digits") -> RunLayout:
    return RunLayout(max((folder / name).iterdir(), key=lambda run: run.stat().st_mtime_ns))


def fmlab(*argv: str, timeout: float = 240, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fmlab", *argv], capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False
    )
