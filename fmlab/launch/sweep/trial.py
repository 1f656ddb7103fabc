"""One trial: the command line that W&B would run, in a process of its own, watched until it ends."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from fmlab.errors import UserError, nearest
from fmlab.launch.slurm.client import MAX_RESTARTS, NOTICE
from fmlab.launch.sweep.command import expand
from fmlab.launch.sweep.ledger import HIDDEN, Claim, Ledger, Outcome
from fmlab.launch.sweep.owner import GRACE, Owner
from fmlab.records import TRIAL, TRIAL_SWEEP, RunLayout, read_metrics, read_status, write_status

POLL = 0.5
"""Seconds between two looks at a trial."""
_OF_THE_TASK = (
    *("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS"),
    *("MASTER_PORT", MAX_RESTARTS),
)


def run_trial(ledger: Ledger, claim: Claim, stop: threading.Event) -> Outcome:
    """Runs a taken trial until it ends, is pruned, or `stop` is set.

    A trial that was interrupted before continues from its last checkpoint.
    """
    layout = RunLayout(claim.folder)
    log = ledger.folder / HIDDEN / "logs" / f"{claim.folder.name}.txt"
    state = read_status(layout).state
    if state == "done":  # its worker died before it could say so
        return read_outcome(ledger, layout, 0, log)
    if state == "running":  # on a machine that is gone
        write_status(layout, "interrupted")
    for folder in (log.parent, claim.folder):
        folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                trial_command(ledger, claim),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=trial_environment(ledger, claim),
                start_new_session=True,  # Ctrl-C at the terminal is for the sweep, which then ends its trials itself
            )
        except OSError as error:
            return Outcome("failed", reason=f"cannot start: {error}")
    ledger.record_process(claim, Owner.of(process.pid))
    while not _ended_within(process, POLL):
        if stop.is_set():
            end_process(process, time_to_save())
            return Outcome("waiting")
        if report_metric(ledger, claim, layout):
            end_process(process)
            write_status(layout, "pruned")
            return Outcome("pruned")
    report_metric(ledger, claim, layout)
    if stop.is_set() and process.returncode != 0:
        return Outcome("waiting")  # whoever stopped the sweep stopped the trial too
    if process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL) and ledger.try_again(claim):
        return Outcome("waiting")  # it continues from its last checkpoint
    return read_outcome(ledger, layout, process.returncode, log)


def trial_command(ledger: Ledger, claim: Claim) -> list[str]:
    """Returns the command line of a trial; of one whose run saved something before, the one that resumes it."""
    sweep, layout = ledger.sweep, RunLayout(claim.folder)
    if sweep.head == ["fmlab", "fit"] and layout.has_checkpoint and layout.raw_config.exists():
        # Trusted, because this sweep's own command created the run.
        resume = [*sweep.command[: sweep.command.index("fit") + 1], "--resume", str(claim.folder), "--trust"]
        return expand(resume, sweep.program, {})
    return expand(sweep.command, sweep.program, claim.parameters)


def trial_environment(ledger: Ledger, claim: Claim) -> dict[str, str]:
    """Returns the environment of a trial: it names the run's folder, and finds this Python's commands first.

    In a job of SLURM's the task is the worker's: a trial starts its processes itself, and has nothing to requeue.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_THE_TASK}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment |= {TRIAL: str(claim.folder.resolve()), TRIAL_SWEEP: ledger.sweep.name}
    environment.setdefault("WANDB_RUN_GROUP", ledger.sweep.name)
    return environment


def report_metric(ledger: Ledger, claim: Claim, layout: RunLayout) -> bool:
    """Records the metric's new values in the ledger; returns whether the trial is to be stopped."""
    metric = ledger.sweep.metric_name
    if metric is None or not layout.metrics.exists():
        return False
    try:
        values = [row[metric] for row in read_metrics(layout.metrics) if metric in row]
    except UserError:  # which is said when the trial has ended
        return False
    # Every report counts where trials are compared at one of them; otherwise only the latest is of interest.
    first = claim.reports + 1 if ledger.sweep.early_terminate is not None else max(claim.reports + 1, len(values))
    return any(ledger.report(claim, values[count - 1], count) for count in range(first, len(values) + 1))


def read_outcome(ledger: Ledger, layout: RunLayout, code: int, log: Path) -> Outcome:
    """Reads how a trial went whose process has ended."""
    if code != 0:
        return Outcome("failed", reason=_explain_failure(layout, code, log))
    metric = ledger.sweep.metric_name
    if metric is None:
        return Outcome("done")
    try:
        rows = read_metrics(layout.metrics) if layout.metrics.is_file() else []
    except UserError as error:
        return Outcome("failed", reason=f"{error.key}: {error.message}")
    values = [row[metric] for row in rows if metric in row]
    if not values:
        names = {name for row in rows for name in row if name != "step"}
        return Outcome("failed", reason=f"it never logged {metric}; {nearest(metric, names)}")
    if not math.isfinite(values[-1]):
        return Outcome("failed", reason=f"{metric} is {values[-1]}")
    return Outcome("done", values[-1])


def time_to_save() -> float:
    """Returns the seconds that a trial has to save: before a time limit most of what SLURM's warning leaves."""
    notice = os.environ.get(NOTICE, "")
    return max(GRACE, float(notice) - GRACE / 2) if notice.isdigit() else GRACE


def end_process(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """Ends a trial's process, and what is left of its group: first it is asked to, then killed."""
    process.terminate()
    _ended_within(process, grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _explain_failure(layout: RunLayout, code: int, log: Path) -> str:
    """Says in one line why a process failed: what its run recorded, the error it printed, or its last line."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    status = read_status(layout)
    if status.state == "failed" and status.error:
        return status.error
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()][-50:]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1][:300] + f" (exit code {code})"
