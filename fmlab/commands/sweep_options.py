"""The options of `fmlab sweep`, read before anything heavy is imported."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from fmlab.commands.submit_options import slurm_words
from fmlab.config.parts import Parser
from fmlab.errors import UserError, nearest

USAGE = "fmlab sweep FILE [--workers 2] [--trials 20] [--dir runs] [--check | --wandb | --slurm [--dry-run]]"

EPILOG = """
FILE is a W&B sweep file whose parameters are the flags of its command; sweeps/ has some. Here and now it runs offline:
each trial is a run in DIR/<name>/, made by the very command that W&B's agents run. Stopped at any point, the same
command goes on. wandb sweep FILE takes the file as it is, too; --wandb checks it first. --slurm submits an array with a
task for each trial that is left; --cluster and --slurm.NAME VALUE as fmlab submit has them.
"""


def parser() -> argparse.ArgumentParser:
    """The options of `fmlab sweep`."""
    command = Parser(
        prog="fmlab sweep",
        usage=USAGE,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("file", help="a sweep file, such as sweeps/paths.yaml")
    add("--workers", type=int, default=1, help="trials that run at the same time (1)")
    add("--trials", type=int, help="how many trials there are to be, instead of the file's run_cap")
    add("--dir", default="runs", help="where all runs live (runs)")
    add("--check", action="store_true", help="only say what is wrong with the file")
    add("--wandb", action="store_true", help="register it with Weights & Biases and print the agents' command")
    add("--slurm", action="store_true", help="submit it to SLURM as an array, a trial a task")
    add("--cluster", metavar="FILE", help="with --slurm: the cluster's defaults, as fmlab submit has them")
    add("--at_once", type=int, help="with --slurm: how many trials may run at a time (all)")
    add("--max_restarts", type=int, help="with --slurm: how often a task may be requeued (50)")
    add("--dry-run", "--dry_run", action="store_true", help="with --slurm: print the script, submit nothing")
    about = "be one more worker of a sweep that runs, on this machine or another, for as many trials (all)"
    add("--worker", type=int, nargs="?", const=0, metavar="TRIALS", help=about)
    return command


def main(argv: list[str]) -> int:
    """Reads the options, then sweeps."""
    slurm, rest = slurm_words(argv)
    options = parser().parse_args(rest)
    if not options.slurm and (alone := _only_with_slurm(options, slurm)):
        raise UserError("is for --slurm", key=alone, hint=f"fmlab sweep {options.file} --slurm ...")
    for name in ("workers", "trials", "at_once"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"{getattr(options, name)}", key=f"--{name}", hint="at least 1")
    file = Path(options.file)
    if not file.is_file():
        known = {found.name: str(found) for found in sorted(Path("sweeps").glob("*.yaml"))}
        close = nearest(file.name, known)
        hint = close if not close.startswith("did") else f"did you mean {known[close.split()[3].rstrip('?')]}?"
        raise UserError("there is no such sweep file", key=str(file), hint=hint)
    from fmlab.commands.sweep import sweep

    return sweep(options, file, slurm, argv)


def _only_with_slurm(options: argparse.Namespace, slurm: Mapping[str, str]) -> str | None:
    """The first option given that means nothing without --slurm."""
    values = {"--cluster": options.cluster, "--at_once": options.at_once, "--max_restarts": options.max_restarts}
    given = [name for name, value in values.items() if value is not None] + ["--dry-run"] * options.dry_run
    return next(iter([*given, *(f"--slurm.{name}" for name in slurm)]), None)
