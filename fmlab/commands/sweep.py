"""`fmlab sweep`: many runs from one file, here, on a cluster, or through Weights & Biases."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path

from fmlab.commands.submit import split_slurm_options
from fmlab.config.parts import Parser
from fmlab.errors import UserError, nearest

USAGE = "fmlab sweep FILE [--workers 2] [--trials 20] [--dir runs] [--check | --wandb | --slurm [--dry-run]]"

EPILOG = """
FILE is a W&B sweep file whose parameters are the flags of its command; sweeps/ has some. It runs on this machine,
offline: each trial is a run in DIR/<name>/, started by the very command that W&B's agents run. Stopped at any point,
the same command continues. wandb sweep FILE takes the file as it is, too; --wandb checks it first. --slurm submits an
array with a task for each trial that is left; --cluster and --slurm.NAME VALUE as fmlab submit has them.
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
    """Checks the file, then registers, submits or runs it."""
    slurm, rest = split_slurm_options(argv)
    options = parser().parse_args(rest)
    _refuse_without_slurm(options, slurm)
    for name in ("workers", "trials", "at_once"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"{getattr(options, name)}", key=f"--{name}", hint="at least 1")
    file = Path(options.file)
    if not file.is_file():
        files = {other.name: str(other) for other in sorted(Path("sweeps").glob("*.yaml"))}
        hint = nearest(file.name, files)
        raise UserError("there is no such sweep file", key=str(file), hint=hint.replace("mean ", "mean sweeps/"))
    from fmlab.launch.sweep.check import check_fit, check_sweep, fetch_data
    from fmlab.launch.sweep.sweep_file import read_sweep

    sweep, runs_dir = read_sweep(file), Path(options.dir)
    if options.worker is not None:
        from fmlab.launch.sweep.worker import work

        work(sweep, runs_dir / sweep.name, options.worker or None)
        return 0
    count = check_sweep(sweep, {"fit": check_fit, "evaluate": check_evaluate})
    if options.check:
        from fmlab.launch.sweep.space import grid

        size = f"{len(grid(sweep.parameters))} points" if sweep.method == "grid" else f"a {sweep.method} search"
        what = f"{count} command lines checked" if count else "the command is not fmlab's and was not checked"
        print(f"{file}: {size}, {what}, nothing wrong{'' if count else ' with the file'}")
    elif options.wandb:
        from fmlab.launch.sweep.wandb_sweep import register_sweep

        register_sweep(sweep)
    elif options.slurm:
        from fmlab.launch.slurm.cluster import find_cluster_file, read_cluster
        from fmlab.launch.slurm.script import Submission
        from fmlab.launch.sweep.submit_sweep import submit_sweep

        cluster = read_cluster(find_cluster_file(options.cluster), slurm)
        restarts = 50 if options.max_restarts is None else options.max_restarts
        typed = shlex.join(["fmlab", "sweep", *argv])
        submission = Submission(typed, cluster, options.at_once, None, restarts, options.dry_run)
        submit_sweep(sweep, runs_dir, options.trials, submission)
    else:
        from fmlab.launch.sweep.engine import run_sweep
        from fmlab.launch.sweep.ledger import Ledger

        fetch_data(sweep)
        ledger = Ledger.begin(sweep, runs_dir / sweep.name, options.trials)
        try:
            return run_sweep(ledger, runs_dir, options.workers)
        except KeyboardInterrupt:
            print("\nstopped; the same command continues the sweep")
            raise
    return 0


def check_evaluate(words: list[str]) -> set[str]:
    """Checks the words of `fmlab evaluate` and that its run exists; returns the metrics that it logs."""
    from fmlab.commands.evaluate import EvaluateOptions
    from fmlab.config.options import parse_options
    from fmlab.config.parts import build_axis
    from fmlab.evaluation.wanted import METRICS, USUAL
    from fmlab.metrics.wanted import METRICS as IMAGE_METRICS
    from fmlab.paths import GaussianPath
    from fmlab.records import find_run
    from fmlab.solvers import Grid, Solver

    options = parse_options(EvaluateOptions, words, "evaluate")
    build_axis("solver", options.solver, Solver)
    build_axis("grid", options.grid, Grid)
    build_axis("path", options.path, GaussianPath)
    find_run(options.run)
    names = options.metrics or [name for usual in USUAL.values() for name in usual]
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}", key="metrics", hint=nearest(name, METRICS))
    scores = [score for name in names for score in (IMAGE_METRICS[name].scores if name in IMAGE_METRICS else (name,))]
    suffixes = ["", "_domain", "_random"] if options.features == "auto" else ["", f"_{options.features}"]
    return {f"evaluate/{score}{suffix}" for score in scores for suffix in suffixes} | {"evaluate/nfe"}


def _refuse_without_slurm(options: argparse.Namespace, slurm: Mapping[str, str]) -> None:
    """Refuses the first option that means nothing without --slurm."""
    values = {"--cluster": options.cluster, "--at_once": options.at_once, "--max_restarts": options.max_restarts}
    names = [name for name, value in values.items() if value is not None] + ["--dry-run"] * options.dry_run
    for name in [*names, *(f"--slurm.{name}" for name in slurm)]:
        if not options.slurm:
            raise UserError("is for --slurm", key=name, hint=f"fmlab sweep {options.file} --slurm ...")
