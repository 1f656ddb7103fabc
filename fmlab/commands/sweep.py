"""`fmlab sweep`: many runs from one file, here, on a cluster, or through Weights & Biases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fmlab.commands.shared import Count, QueueOptions
from fmlab.config.options import Positional, parse_options
from fmlab.config.parts import build_axis
from fmlab.errors import UserError, nearest
from fmlab.records import find_run


@dataclass(frozen=True, kw_only=True)
class SweepOptions(QueueOptions):
    """Runs many trials from one W&B sweep file, whose parameters are the flags of its command.

      fmlab sweep sweeps/paths.yaml --workers 2
      fmlab sweep sweeps/paths.yaml --slurm --slurm.time 2:00:00     an array with a task for each trial that is left

    It runs on this machine, offline: each trial is a run in DIR/<name>/, started by the very command that W&B's agents
    run. Stopped at any point, the same command continues. wandb sweep FILE takes the file as it is, too.

    Args:
        file: A sweep file, such as sweeps/paths.yaml.
        workers: How many trials run at the same time.
        trials: How many trials there are to be, instead of the file's run_cap; with --worker, how many it runs.
        dir: Where all runs live.
        check: Only say what is wrong with the file.
        wandb: Register it with Weights & Biases and print the agents' command.
        slurm: Submit it to SLURM as an array, one trial per task; the options of fmlab submit need it.
        worker: Be one more worker of a sweep that runs, on this machine or another.
    """

    file: Annotated[Path, Positional("FILE")]
    workers: Count = 1
    trials: Count | None = None
    dir: Path = Path("runs")
    check: bool = False
    wandb: bool = False
    slurm: bool = False
    worker: bool = False

    def __post_init__(self) -> None:
        if not self.file.is_file():
            files = {other.name: other for other in sorted(Path("sweeps").glob("*.yaml"))}
            hint = nearest(self.file.name, files).replace("mean ", "mean sweeps/")
            raise UserError("there is no such sweep file", key=str(self.file), hint=hint)
        if not self.slurm:
            _refuse_queue_options(self)


def _refuse_queue_options(options: SweepOptions) -> None:
    """Refuses the first option that means nothing without --slurm."""
    values: dict[str, object] = {f"slurm.{name}": value for name, value in options.slurm_options.items()}
    values |= {"cluster": options.cluster, "at_once": options.at_once, "dry-run": options.dry_run or None}
    values["max_restarts"] = None if options.max_restarts == QueueOptions.max_restarts else options.max_restarts
    for name, value in values.items():
        if value is not None:
            raise UserError("is for --slurm", key=f"--{name}", hint=f"fmlab sweep {options.file} --slurm ...")


def run(options: SweepOptions) -> int:
    """Checks the file, then registers, submits or runs it."""
    from fmlab.launch.sweep.check import check_fit, check_sweep, fetch_data
    from fmlab.launch.sweep.space import grid
    from fmlab.launch.sweep.sweep_file import read_sweep

    sweep = read_sweep(options.file)
    folder = options.dir / sweep.name
    if options.worker:
        from fmlab.launch.sweep.worker import work

        work(sweep, folder, options.trials)
        return 0
    count = check_sweep(sweep, {"fit": check_fit, "evaluate": check_evaluate})
    if options.check:
        size = f"{len(grid(sweep.parameters))} points" if sweep.method == "grid" else f"a {sweep.method} search"
        what = f"{count} command lines checked" if count else "the command is not fmlab's and was not checked"
        print(f"{options.file}: {size}, {what}, nothing wrong{'' if count else ' with the file'}")
    elif options.wandb:
        from fmlab.launch.sweep.submit_sweep import register_sweep

        register_sweep(sweep)
    elif options.slurm:
        from fmlab.launch.sweep.submit_sweep import submit_sweep

        submit_sweep(sweep, options.dir, options.trials, options.submission("sweep"))
    else:
        from fmlab.launch.sweep.engine import run_sweep
        from fmlab.launch.sweep.ledger import Ledger

        fetch_data(sweep)
        ledger = Ledger.begin(sweep, folder, options.trials)
        try:
            return run_sweep(ledger, options.dir, options.workers)
        except KeyboardInterrupt:
            print("\nstopped; the same command continues the sweep")
            raise
    return 0


def check_evaluate(argv: list[str]) -> set[str]:
    """Checks the options of `fmlab evaluate` and that its run exists; returns the metrics that it logs."""
    from fmlab.commands.evaluate import EvaluateOptions
    from fmlab.metrics.registry import METRICS, check_metrics, facts
    from fmlab.paths import GaussianPath
    from fmlab.solvers import Grid, Solver

    options = parse_options(EvaluateOptions, argv, "evaluate")
    build_axis("solver", options.solver, Solver)
    build_axis("grid", options.grid, Grid)
    build_axis("path", options.path, GaussianPath)
    find_run(options.run)
    names = check_metrics(options.metrics or [name for name in METRICS if facts(name).usual])
    values = [value for name in names for value in facts(name).values]
    suffixes = ["", "_domain", "_random"] if options.features == "auto" else ["", f"_{options.features}"]
    return {f"evaluate/{value}{suffix}" for value in values for suffix in suffixes} | {"evaluate/nfe"}
