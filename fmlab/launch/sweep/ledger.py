"""The trials of a sweep, shared by all of its workers: an Optuna study in a journal file in the sweep's folder.

The file is locked by creating another one, which works on network file systems too. Every trial is created when the
sweep begins, as one that waits; a worker takes the first that waits. So there are never more than were asked for,
whatever is killed when, and Optuna's grid sampler, which may give one point to two workers, is not needed.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from fmlab.errors import UserError, first_line
from fmlab.launch.sweep import space
from fmlab.launch.sweep.owner import Owner
from fmlab.launch.sweep.sweep_file import Sweep
from fmlab.records.measurements import fingerprint

optuna.logging.set_verbosity(optuna.logging.ERROR)

State = Literal["waiting", "running", "done", "pruned", "failed"]
STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_DAMAGED = "put back a copy of it, or begin elsewhere with --dir"
_STUDY = 0
"""Optuna's code for the creation of a study, with which a journal begins."""
HIDDEN = ".sweep"
"""The folder of what belongs to the sweep as a whole, beside the trials' runs."""
TRIES = 3
"""How often a trial is begun that is killed by SIGKILL each time, for its memory perhaps."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `waiting` if it was interrupted and is to be resumed later; the metric, or why it failed."""

    state: State
    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class TrialView:
    """What is recorded of one trial, numbered from 0 in the order in which trials are taken.

    Attributes:
        parameters: Its flags; empty until it is taken.
        value: The metric, at the end or at its last report.
        reason: Why it failed.
        folder: Where its run is or will be.
        seconds: How long it ran, or has run.
    """

    number: int
    state: State
    parameters: dict[str, Any]
    value: float | None
    reason: str | None
    folder: Path
    seconds: float

    @property
    def ended(self) -> bool:
        """Whether it is done, pruned or failed."""
        return self.state in ("done", "pruned", "failed")


@dataclass
class Claim:
    """A trial that this process has taken; its folder holds the run already if the trial was interrupted before."""

    trial: optuna.Trial
    parameters: dict[str, Any]
    folder: Path
    reports: int = 0

    @property
    def number(self) -> int:
        return int(self.trial.number)


class Ledger:
    """The record that every process of a sweep reads and writes, in its folder `runs/<name>`, begun with `begin`."""

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        self.sweep, self.folder = sweep, folder
        journal = folder / HIDDEN / "journal.log"
        if not journal.exists():
            raise UserError("no sweep was begun there", key=str(folder), hint=f"fmlab sweep {sweep.file}")
        _check(journal, any(folder.glob(f"{sweep.name}-????-????")))
        self._lock = JournalFileOpenLock(str(folder / HIDDEN / "claim"))  # to take or free a trial
        self.storage = JournalStorage(JournalFileBackend(str(journal), JournalFileOpenLock(str(journal))))
        try:
            self.study = optuna.create_study(
                storage=self.storage,
                study_name=sweep.name,
                direction="maximize" if sweep.maximize else "minimize",
                pruner=choose_pruner(sweep),
                sampler=RandomSampler(),
                load_if_exists=True,
            )
        except (KeyError, IndexError, TypeError, ValueError, AssertionError) as error:
            cause = f"is damaged: {type(error).__name__}: {first_line(error)}"
            raise UserError(cause, key=str(journal), hint=_DAMAGED) from error

    @classmethod
    def begin(cls, sweep: Sweep, folder: Path, trials: int | None = None) -> Ledger:
        """Opens the sweep's ledger, created or completed so that it holds so many trials, or those that the file says.

        Raises:
            UserError: If nobody says how many, or the folder holds a sweep over something else.
        """
        total = sweep.count_trials(trials)
        points = space.grid(sweep.parameters) if sweep.method == "grid" else [{}] * total
        journal = folder / HIDDEN / "journal.log"
        journal.parent.mkdir(parents=True, exist_ok=True)
        with _hold(JournalFileOpenLock(str(journal))):
            _mend(journal)
        ledger = cls(sweep, folder)
        with _hold(ledger._lock):
            ledger._check_same_search()
            for point in points[len(ledger.study.get_trials(deepcopy=False)) : total]:
                ledger.study.enqueue_trial({name: json.dumps(point[name]) for name in sweep.varied if name in point})
        return ledger

    def claim(self, owner: Owner) -> Claim | None:
        """Takes the next trial that waits, or whose worker died; returns None if there is none."""
        with _hold(self._lock):
            self._free_orphans(owner)
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if not waiting:
                return None
            self.study.sampler = choose_sampler(self.sweep, waiting[0].number)
            trial = self.study.ask()
            trial.set_user_attr("owner", asdict(owner))
        forms = self.sweep.parameters
        parameters = {name: space.flag_value(form, self._draw(trial, name)) for name, form in forms.items()}
        trial.set_user_attr("parameters", parameters)
        reports = max(waiting[0].intermediate_values, default=0)
        return Claim(trial, parameters, self.run_folder(trial.number), reports)

    def run_folder(self, number: int) -> Path:
        """The folder of a trial's run; its name is one that no other sweep's runs have."""
        return self.folder / f"{self.sweep.name}-{self.study.user_attrs['token']}-{number:04d}"

    def try_again(self, claim: Claim) -> bool:
        """Counts that a trial was killed, and says whether it is to be tried again."""
        kills = int(claim.trial.user_attrs.get("kills", 0)) + 1
        claim.trial.set_user_attr("kills", kills)
        return kills < TRIES

    def record_process(self, claim: Claim, process: Owner) -> None:
        """Records the process of a trial, so that whoever takes the trial over can end what is left of it."""
        claim.trial.set_user_attr("process", asdict(process))

    def report(self, claim: Claim, value: float, count: int) -> bool:
        """Records the metric at its `count`-th report, and says whether the trial is to be stopped."""
        claim.reports = count
        claim.trial.report(value, count)
        return bool(claim.trial.should_prune())

    def finish(self, claim: Claim, owner: Owner, outcome: Outcome) -> None:
        """Records how a trial ended, unless another worker took it over; an interrupted one waits again."""
        with _hold(self._lock):
            current = self.study.get_trials(deepcopy=False)[claim.number]
            if current.state != TrialState.RUNNING or current.user_attrs.get("owner") != asdict(owner):
                return
            if outcome.reason is not None:
                claim.trial.set_user_attr("reason", outcome.reason)
            if outcome.state == "waiting":
                self.storage.set_trial_state_values(claim.trial._trial_id, TrialState.WAITING)
            elif outcome.state == "done":
                # Optuna needs a number of every trial; a sweep that only runs things has none.
                self.study.tell(claim.trial, 0.0 if outcome.value is None else outcome.value)
            else:
                self.study.tell(claim.trial, state=TrialState.FAIL if outcome.state == "failed" else TrialState.PRUNED)

    def views(self) -> list[TrialView]:
        """Reads every trial."""
        return [self._view(trial) for trial in self.study.get_trials(deepcopy=False)]

    def best(self, views: Sequence[TrialView]) -> TrialView | None:
        """Returns the best of those that are done."""
        done = [view for view in views if view.state == "done" and view.value is not None]
        sign = -1 if self.sweep.maximize else 1
        return min(done, key=lambda view: sign * (view.value or 0.0), default=None)

    def _view(self, trial: FrozenTrial) -> TrialView:
        state, last = STATES[trial.state], trial.last_step
        value = trial.value if state == "done" else None if last is None else trial.intermediate_values[last]
        if self.sweep.metric_name is None or (value is not None and math.isnan(value)):
            value = None
        seconds = 0.0
        if trial.datetime_start is not None and state != "waiting":
            end = time.time() if trial.datetime_complete is None else trial.datetime_complete.timestamp()
            seconds = end - trial.datetime_start.timestamp()
        parameters, reason = dict(trial.user_attrs.get("parameters", {})), trial.user_attrs.get("reason")
        return TrialView(trial.number, state, parameters, value, reason, self.run_folder(trial.number), seconds)

    def _draw(self, trial: optuna.Trial, name: str) -> Any:
        form = self.sweep.parameters[name]
        if self.sweep.method == "grid" and "value" not in form:
            form = {"values": space.list_values(form)}
        choices = space.distribution(form)
        return None if choices is None else trial._suggest(name, choices)

    def _free_orphans(self, owner: Owner) -> None:
        """Lets trials whose worker is gone wait again; ends what is left of their processes here."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get("owner")
            if worker is not None and not Owner(**worker).is_gone(owner):
                continue
            if "process" in trial.user_attrs:
                Owner(**trial.user_attrs["process"]).end()
            self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _check_same_search(self) -> None:
        """Refuses a folder that holds the trials of another search."""
        sweep = self.sweep
        digest = fingerprint(sweep.method, sweep.metric_name, sweep.maximize, sweep.parameters, sweep.command)
        recorded = self.study.user_attrs.get("digest")
        if recorded is None:
            self.study.set_user_attr("token", secrets.token_hex(2))
            self.study.set_user_attr("digest", digest)
        elif recorded != digest:
            hint = "give the file another name:, or put its runs elsewhere with --dir"
            raise UserError(f"{self.folder} holds another sweep", key=str(self.sweep.file), hint=hint)


def choose_sampler(sweep: Sweep, number: int) -> BaseSampler:
    """Returns what draws the parameters of one trial: seeded by its number, so that any worker draws the same."""
    seed = zlib.crc32(f"{sweep.name} {number}".encode())
    if sweep.method == "bayes":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return RandomSampler(seed=seed)


def choose_pruner(sweep: Sweep) -> BasePruner:
    """What W&B calls hyperband is one bracket of it: successive halving that does not wait, at fixed bands."""
    if sweep.early_terminate is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=sweep.early_terminate.first, reduction_factor=sweep.early_terminate.eta)


@contextmanager
def _hold(lock: JournalFileOpenLock) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check(journal: Path, has_trials: bool) -> None:
    """Refuses a journal that lost what it said of the trials, which would otherwise all be run again.

    Raises:
        UserError: If it is empty although there are trials, or a line of it is not what was written.
    """
    lines = journal.read_bytes().split(b"\n")[:-1]
    if not lines and has_trials:
        raise UserError("is empty, although there are trials beside it", key=str(journal), hint=_DAMAGED)
    for number, line in enumerate(lines, start=1):
        try:
            code = json.loads(line)["op_code"]
            whole = isinstance(code, int) and (number > 1 or code == _STUDY)
        except (ValueError, TypeError, KeyError, RecursionError):
            whole = False
        if not whole:
            raise UserError(f"line {number} is damaged", key=str(journal), hint=_DAMAGED)


def _mend(journal: Path) -> None:
    """Cuts off a last line that a dying machine left half written."""
    if journal.exists():
        data = journal.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(journal, data.rfind(b"\n") + 1)
    else:
        journal.touch()
