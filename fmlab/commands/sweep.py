"""`fmlab sweep`: many runs from one file, here, on a cluster, or through Weights & Biases."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fmlab.commands.sweep_flags import check_flags, fetch_data
from fmlab.errors import UserError
from fmlab.launch.sweep.engine import run_sweep
from fmlab.launch.sweep.ledger import Ledger
from fmlab.launch.sweep.space import grid
from fmlab.launch.sweep.sweep_file import Sweep, read_sweep
from fmlab.launch.sweep.worker import work


def sweep(options: argparse.Namespace, file: Path, slurm: Mapping[str, str], typed: Sequence[str]) -> int:
    """Checks the file, then registers, submits or runs it.

    Args:
        options: What `sweep_options.parser` read.
        file: The sweep file, which exists.
        slurm: The `--slurm.*` words by name.
        typed: All words after `fmlab sweep`.
    """
    found = read_sweep(file)
    folder = Path(options.dir) / found.name
    if options.worker is not None:
        work(found, folder, options.worker or None)
        return 0
    checked = check_flags(found)
    if options.check:
        many = f"{len(grid(found.parameters))} points" if found.method == "grid" else f"a {found.method} search"
        what = f"{checked} command lines checked" if checked else "a command that is not fmlab's, so unchecked"
        print(f"{file}: {many}, {what}, nothing wrong{'' if checked else ' with the file'}")
        return 0
    if options.wandb:
        return register(found)
    if options.slurm:
        from fmlab.commands.sweep_submit import SweepSubmission, submit_sweep

        restarts = 50 if options.max_restarts is None else options.max_restarts
        wanted = (options.trials, options.at_once, restarts, options.dry_run)
        return submit_sweep(found, SweepSubmission(tuple(typed), Path(options.dir), slurm, options.cluster, *wanted))
    fetch_data(found)
    ledger = Ledger.begin(found, folder, options.trials)
    try:
        return run_sweep(ledger, Path(options.dir), options.workers)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here")
        raise


def register(found: Sweep) -> int:
    """Registers the file by `wandb sweep`, and prints the command for agents.

    Raises:
        UserError: If W&B does not take it.
    """
    command = [sys.executable, "-m", "wandb", "sweep", str(found.file)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    said = [line.removeprefix("wandb: ").strip() for line in done.stderr.splitlines() if line.strip()]
    agent = re.search(r"wandb agent \S+", done.stderr)
    if done.returncode != 0 or agent is None:
        hint = "wandb login, or leave --wandb out: the sweep then runs here, offline"
        raise UserError(f"W&B: {said[-1] if said else 'no answer'}", key=str(found.file), hint=hint)
    for line in said:
        if line.startswith("View sweep at"):
            print(line)
    print(f"agents     {agent.group()}")
    return 0
