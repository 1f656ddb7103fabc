"""A sweep file registered with Weights & Biases."""

from __future__ import annotations

import re
import subprocess
import sys

from fmlab.errors import UserError
from fmlab.launch.sweep.sweep_file import Sweep


def register_sweep(sweep: Sweep) -> None:
    """Registers the file by `wandb sweep`, and prints the command for agents.

    Raises:
        UserError: If W&B does not take it.
    """
    command = [sys.executable, "-m", "wandb", "sweep", str(sweep.file)]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    lines = [line.removeprefix("wandb: ").strip() for line in result.stderr.splitlines() if line.strip()]
    agent = re.search(r"wandb agent \S+", result.stderr)
    if result.returncode != 0 or agent is None:
        hint = "wandb login, or leave --wandb out: the sweep then runs here, offline"
        raise UserError(f"W&B: {lines[-1] if lines else 'no answer'}", key=str(sweep.file), hint=hint)
    for line in lines:
        if line.startswith("View sweep at"):
            print(line)
    print(f"agents     {agent.group()}")
