"""Kills, cuts, fills and poisons runs, resumes them, and compares how they end with a run that nothing happened to.

    PYTHONPATH=tests python benchmarks/fault_campaign.py --out docs/reliability.md

Every life of a run is the real command in a process of its own (forked from one that has imported the libraries, so
that a life costs seconds), on a network that is small for the same reason. "Identical" means weights, optimizer,
schedule, averages, best score and checkpoint, snapshots, pictures and every logged number, bit for bit; only what a
clock or the machine's memory says may differ. Jobs are submitted where a SLURM answers: `sudo tests/slurm/start.sh`.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fault_kinds import damages, dead_ranks, full_disk, kills, poisons, signals
from fault_lives import INTERVAL, STEPS, VALIDATE, Tally, acting, begin
from fault_slurm import preemptions
from helpers.tiny_runs import newest

from fmlab.records import RunLayout

Fault = Callable[[RunLayout, Path, random.Random], Tally]
CAMPAIGN: dict[str, Fault] = {
    "kills": kills,
    "signals": signals,
    "preemptions": preemptions,
    "damages": damages,
    "full_disk": full_disk,
    "poisons": poisons,
    "dead_ranks": dead_ranks,
}
"""Each takes the undisturbed run, a folder of its own and a source of chance; another kind of fault is a line here."""

PAGE = """# Reliability

The faults that were injected into running `fmlab fit` commands, and how the runs ended after `fmlab fit --resume`.
"Identical" means that weights, optimizer, schedule, averages, best score and checkpoint, snapshots, pictures and every
logged number are those of an undisturbed run, bit for bit (CPU, float32; what a clock or the machine's memory
says is left out).

Made in {minutes:.0f} minutes with seed {seed}: {steps} steps, a checkpoint every {interval}, a validation every
{validate}, gradients of two batches added up:

    PYTHONPATH=tests python benchmarks/fault_campaign.py --out docs/reliability.md

| fault | faults | ended | how |
| --- | --- | --- | --- |
{rows}

## What it rests on

* `last.ckpt`, `previous.ckpt` (what it was before) and `best.ckpt` are written to a file beside the target, flushed
  to the disk, and then renamed. Each is the state at the end of a step, whenever it was written, with the number
  of rows that `metrics.csv` had by then; at a resume the file is cut back to them. A validation that was due
  after that step and had not ended is made again first.
* A checkpoint is a zip archive with a CRC-32 of each of its parts (`unzip -t last.ckpt`); they are checked whenever
  one is read. A resume uses the newest whole one of the three, and a line says so.
* SIGUSR1, SIGTERM and Ctrl-C set a flag. The run checks it after every step, and after every batch that a validation
  reads, generates or measures. Several processes agree through the key-value store of their process group, in a thread:
  no collective and no wait for a device is added to a step. The exit code is 75 (130 after Ctrl-C), the status
  `preempted` (`interrupted`); a second Ctrl-C ends at once and saves nothing.
* In a SLURM job with `FMLAB_MAX_RESTARTS` set, SIGUSR1 ends with `scontrol requeue $SLURM_JOB_ID` while
  `SLURM_RESTART_COUNT` is below it. After SIGTERM SLURM decides itself.
* The run checks its losses when it reports them (`trainer.log_every_n_steps`) and before it writes a checkpoint, so a
  checkpoint never holds weights that are not finite. `--nonfinite.action=skip` skips such steps instead.
* Processes of one run give a sign of life every 3 seconds. One that gives none for 30, or that failed, ends the others.
* One process at a time trains a run: it holds a lock on `.lock` in the run's folder, which the system frees when the
  process ends, however it ends.
* `starts/0001.json`, `0002.json`, ... hold what was typed at each start, the complete configuration, and the step it
  began from. A resume continues from the configuration of the latest start. A start that ends before its first step
  leaves the run as it was.
"""


def run_campaign() -> None:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, help="where the page goes; printed if left out")
    options.add_argument("--only", nargs="*", choices=list(CAMPAIGN), default=list(CAMPAIGN), help="some of the faults")
    options.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    chosen = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fmlab_faults_") as name:
        folder = Path(name)
        undisturbed = begin(folder / "whole", acting())
        assert undisturbed.wait() == 0, undisturbed.log.read_text()
        whole = newest(folder / "whole")
        tallies = []
        for fault in chosen.only:
            target = folder / fault
            target.mkdir()
            tallies.append(CAMPAIGN[fault](whole, target, random.Random(f"{chosen.seed} {fault}")))
            print(tallies[-1].row(), flush=True)
    minutes = (time.monotonic() - began) / 60
    rows = "\n".join(tally.row() for tally in tallies)
    numbers = {"seed": chosen.seed, "minutes": minutes, "steps": STEPS, "interval": INTERVAL, "validate": VALIDATE}
    page = PAGE.format(rows=rows, **numbers)
    if chosen.out:
        chosen.out.write_text(page)
    else:
        print(page)
    sys.exit(1 if any(tally.failures for tally in tallies) else 0)


if __name__ == "__main__":
    run_campaign()
