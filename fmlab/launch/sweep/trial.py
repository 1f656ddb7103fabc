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
from fmlab.launch.slurm.requeue import MAX_RESTARTS, NOTICE
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
    """Runs a taken trial to its end, to the point where it is pruned, or until `stop` is set.

    A trial that was interrupted before goes on from its last checkpoint.
    """
    layout = RunLayout(claim.folder)
    if read_status(layout).state == "done":  # its worker died before it could say so
        return outcome_of(ledger, layout, 0, Path(os.devnull))
    if read_status(layout).state == "running":  # on a machine that is gone
        write_status(layout, "interrupted")
    log = ledger.folder / HIDDEN / "logs" / f"{claim.folder.name}.txt"
    for place in (log.parent, claim.folder):
        place.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                words_of(ledger, claim),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(ledger, claim),
                start_new_session=True,  # Ctrl-C at the terminal is for the sweep, which then ends its trials itself
            )
        except OSError as error:
            return Outcome("failed", reason=f"cannot start: {error}")
    itself = Owner.of(process.pid)
    ledger.started(claim, itself)
    watch = Watch(ledger, claim, layout)
    while not _ended_within(process, POLL):
        if stop.is_set():
            end(process, time_to_save())
            return Outcome("waiting")
        if watch.look():
            end(process)
            write_status(layout, "pruned")
            return Outcome("pruned")
    watch.look()
    if stop.is_set() and process.returncode != 0:
        return Outcome("waiting")  # whoever stopped the sweep stopped the trial too
    return outcome_of(ledger, layout, process.returncode, log)


def words_of(ledger: Ledger, claim: Claim) -> list[str]:
    """The command line of a trial; of one whose run was begun before, the one that resumes it."""
    sweep, layout = ledger.sweep, RunLayout(claim.folder)
    command = list(sweep.command)
    if sweep.program == ["fmlab", "fit"] and layout.config.exists() and layout.raw_config.exists():
        verb = command.index("fit")
        # Trusted, because this sweep's own command made the run.
        words = [*command[: verb + 1], "--resume", str(claim.folder), "--trust"]
        return expand(words, str(sweep.content["program"]), {})
    return expand(command, str(sweep.content["program"]), claim.parameters)


def environment(ledger: Ledger, claim: Claim) -> dict[str, str]:
    """The surroundings of a trial: where its run goes, and this Python's commands first.

    In a job of SLURM's the task is the worker's: a trial starts its processes itself, and has nothing to requeue.
    """
    given = {name: value for name, value in os.environ.items() if name not in _OF_THE_TASK}
    given["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)])
    given[TRIAL], given[TRIAL_SWEEP] = str(claim.folder.resolve()), ledger.sweep.name
    given.setdefault("WANDB_RUN_GROUP", ledger.sweep.name)
    return given


class Watch:
    """Follows the metric of a running trial.

    Args:
        ledger: Where reports go.
        claim: The trial.
        layout: The folder of its run.
    """

    def __init__(self, ledger: Ledger, claim: Claim, layout: RunLayout) -> None:
        self.ledger, self.claim, self.layout = ledger, claim, layout
        reported = [step for step in ledger.study.get_trials(deepcopy=False)[claim.number].intermediate_values]
        self.seen = max(reported, default=0)

    def look(self) -> bool:
        """Passes on what is new; whether the trial is to be stopped."""
        metric = self.ledger.sweep.metric
        if metric is None or not self.layout.metrics.exists():
            return False
        values = [row[metric] for row in read_metrics(self.layout.metrics) if metric in row]
        # Every report counts where trials are compared at one of them; else only how it stands is of interest.
        first = self.seen + 1 if self.ledger.sweep.early is not None else max(self.seen + 1, len(values))
        for count in range(first, len(values) + 1):
            self.seen = count
            if self.ledger.report(self.claim, values[count - 1], count):
                return True
        return False


def outcome_of(ledger: Ledger, layout: RunLayout, code: int, log: Path) -> Outcome:
    """How a trial whose process has ended went."""
    if code != 0:
        return Outcome("failed", reason=_reason(layout, code, log))
    metric = ledger.sweep.metric
    if metric is None:
        return Outcome("done")
    try:
        rows = read_metrics(layout.metrics)
    except UserError:
        rows = []
    values = [row[metric] for row in rows if metric in row]
    if not values:
        names = {name for row in rows for name in row if name != "step"}
        return Outcome("failed", reason=f"it never logged {metric}; {nearest(metric, names)}")
    if not math.isfinite(values[-1]):
        return Outcome("failed", reason=f"{metric} is {values[-1]}")
    return Outcome("done", values[-1])


def time_to_save() -> float:
    """Seconds that a trial has to save: before a time limit most of what SLURM's warning leaves."""
    notice = os.environ.get(NOTICE, "")
    return max(GRACE, float(notice) - GRACE / 2) if notice.isdigit() else GRACE


def end(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """Ends a trial's process, and what is left of its group: first it is asked to, then killed."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _reason(layout: RunLayout, code: int, log: Path) -> str:
    """Why a process failed, in one line: what its run says, the error it printed, or its last word."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    status = read_status(layout)
    if status.state == "failed" and status.error:
        return status.error
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()][-50:]
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or [""])[-1][:300] + f" (exit code {code})"
