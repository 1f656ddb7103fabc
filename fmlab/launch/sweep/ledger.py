"""The trials of a sweep, shared by all of its workers: an Optuna study in a journal file in the sweep's folder.

The file is locked by creating another one, which works on network file systems too. Every trial is made when the sweep
begins, as one that waits; a worker takes the first that waits. So there are never more than were asked for, whatever
is killed when, and Optuna's grid sampler, which may give one point to two workers, is not needed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
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

from fmlab.errors import UserError
from fmlab.launch.sweep import space
from fmlab.launch.sweep.owner import Owner
from fmlab.launch.sweep.sweep_file import Sweep

optuna.logging.set_verbosity(optuna.logging.ERROR)

State = Literal["waiting", "running", "done", "pruned", "failed"]
STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
HIDDEN = ".sweep"
"""What belongs to the sweep as a whole, in its folder, beside the trials' runs."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: `waiting` if it was interrupted and is to go on later.
        value: The metric; needed where it is done and the sweep has one.
        reason: Why it failed, in one line.
    """

    state: State
    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class TrialView:
    """One trial as it stands.

    Attributes:
        number: From 0 in the order in which trials are taken.
        state: Where it stands.
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
        """Whether it has come to its end, one way or another."""
        return self.state in ("done", "pruned", "failed")


@dataclass
class Claim:
    """A trial that this process has taken.

    Attributes:
        trial: Optuna's handle.
        parameters: Its flags and their values.
        folder: Where its run is to be; something is there if it was interrupted before.
    """

    trial: optuna.Trial
    parameters: dict[str, Any]
    folder: Path

    @property
    def number(self) -> int:
        return int(self.trial.number)


class Ledger:
    """What every process of a sweep reads and writes.

    Args:
        sweep: What the file says.
        folder: The sweep's folder, `runs/<name>`, begun with `begin`.
    """

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        self.sweep, self.folder = sweep, folder
        place = folder / HIDDEN
        if not (place / "journal.log").exists():
            raise UserError("no sweep was begun there", key=str(folder), hint=f"fmlab sweep {sweep.file}")
        self._lock = JournalFileOpenLock(str(place / "claim"))
        backend = JournalFileBackend(str(place / "journal.log"), JournalFileOpenLock(str(place / "journal.log")))
        self.storage = JournalStorage(backend)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=sweep.name,
            direction="maximize" if sweep.maximize else "minimize",
            pruner=pruner(sweep),
            sampler=RandomSampler(),
            load_if_exists=True,
        )

    @classmethod
    def begin(cls, sweep: Sweep, folder: Path, trials: int | None = None) -> Ledger:
        """Opens the sweep's ledger, made or completed so that it holds all of its trials.

        Args:
            sweep: What the file says.
            folder: The sweep's folder.
            trials: How many there are to be, instead of the file's `run_cap`; of a grid, at most all of its points.

        Raises:
            UserError: If nobody says how many, or the folder holds a sweep over something else.
        """
        points = space.grid(sweep.parameters) if sweep.method == "grid" else None
        wanted = wanted_trials(sweep, trials)
        place = folder / HIDDEN
        place.mkdir(parents=True, exist_ok=True)
        journal = place / "journal.log"
        with _held(JournalFileOpenLock(str(journal))):
            _mend(journal)
        ledger = cls(sweep, folder)
        with ledger._exclusively():
            ledger._check_same()
            count = len(ledger.study.get_trials(deepcopy=False))
            for number in range(count, wanted):
                fixed = {} if points is None else {name: json.dumps(value) for name, value in points[number].items()}
                varied = {name: text for name, text in fixed.items() if "value" not in sweep.parameters[name]}
                ledger.study.enqueue_trial(varied)
        return ledger

    def claim(self, owner: Owner) -> Claim | None:
        """The next trial that waits, one whose worker died included; None if none waits."""
        with self._exclusively():
            self._free_orphans(owner)
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if not waiting:
                return None
            self.study.sampler = sampler(self.sweep, waiting[0].number)
            trial = self.study.ask()
            trial.set_user_attr("owner", asdict(owner))
        parameters = self._parameters(trial)
        trial.set_user_attr("parameters", parameters)
        return Claim(trial, parameters, self.place_of(trial.number))

    def place_of(self, number: int) -> Path:
        """The folder of a trial's run; its name is one that no other sweep's runs have."""
        return self.folder / f"{self.sweep.name}-{self.study.user_attrs['token']}-{number:04d}"

    def started(self, claim: Claim, process: Owner) -> None:
        """Records the process of a trial, so that whoever takes it over can end what is left of it."""
        claim.trial.set_user_attr("process", asdict(process))

    def report(self, claim: Claim, value: float, count: int) -> bool:
        """Notes the metric at its `count`-th report, and says whether the trial is to be stopped."""
        claim.trial.report(value, count)
        return bool(claim.trial.should_prune())

    def finish(self, claim: Claim, owner: Owner, outcome: Outcome) -> None:
        """Records how a trial ended; an interrupted one waits again. One that was taken over is not ours to end."""
        with self._exclusively():
            now = self.study.get_trials(deepcopy=False)[claim.number]
            if now.state != TrialState.RUNNING or now.user_attrs.get("owner") != asdict(owner):
                return
            if outcome.reason is not None:
                claim.trial.set_user_attr("reason", outcome.reason)
            if outcome.state == "waiting":
                self.storage.set_trial_state_values(claim.trial._trial_id, TrialState.WAITING)
            elif outcome.state == "failed":
                self.study.tell(claim.trial, state=TrialState.FAIL)
            elif outcome.state == "pruned":
                self.study.tell(claim.trial, state=TrialState.PRUNED)
            else:
                # Optuna wants a number of every trial; a sweep that only runs things has none.
                self.study.tell(claim.trial, 0.0 if outcome.value is None else outcome.value)

    def views(self) -> list[TrialView]:
        """Every trial as it stands."""
        return [self._view(trial) for trial in self.study.get_trials(deepcopy=False)]

    def best(self, views: Sequence[TrialView]) -> TrialView | None:
        """The best of those that are done."""
        if self.sweep.metric is None:
            return None
        done = [view for view in views if view.state == "done" and view.value is not None]
        sign = -1 if self.sweep.maximize else 1
        return min(done, key=lambda view: sign * (view.value or 0.0), default=None)

    def _view(self, trial: FrozenTrial) -> TrialView:
        state, last = STATES[trial.state], trial.last_step
        value = trial.value if state == "done" else None if last is None else trial.intermediate_values[last]
        seconds = 0.0
        if trial.datetime_start is not None and state != "waiting":
            ended = time.time() if trial.datetime_complete is None else trial.datetime_complete.timestamp()
            seconds = ended - trial.datetime_start.timestamp()
        shown = value if self.sweep.metric is not None and value is not None and not math.isnan(value) else None
        attributes = trial.user_attrs
        place = self.place_of(trial.number)
        parameters = dict(attributes.get("parameters", {}))
        return TrialView(trial.number, state, parameters, shown, attributes.get("reason"), place, seconds)

    def _parameters(self, trial: optuna.Trial) -> dict[str, Any]:
        parameters = {}
        for name, form in self.sweep.parameters.items():
            choices = self._choices(form)
            drawn = None if choices is None else trial._suggest(name, choices)
            parameters[name] = space.value(form, drawn)
        return parameters

    def _choices(self, form: Mapping[str, Any]) -> Any:
        if self.sweep.method == "grid" and "value" not in form:
            return space.distribution({"values": space.listed(form)})
        return space.distribution(form)

    def _free_orphans(self, owner: Owner) -> None:
        """Trials whose worker is gone wait again; what is left of their processes here is ended."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            its = trial.user_attrs.get("owner")
            if its is not None and not Owner(**its).is_gone(owner):
                continue
            if "process" in trial.user_attrs:
                Owner(**trial.user_attrs["process"]).end()
            self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _check_same(self) -> None:
        """A folder holds the trials of one search."""
        about = {name: self.sweep.content.get(name) for name in ("method", "metric", "parameters", "command")}
        digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
        known = self.study.user_attrs
        if "digest" not in known:
            self.study.set_user_attr("token", secrets.token_hex(2))
            self.study.set_user_attr("digest", digest)
        elif known["digest"] != digest:
            hint = "give the file another name:, or put its runs elsewhere with --dir"
            raise UserError(f"{self.folder} holds a sweep over something else", key=str(self.sweep.file), hint=hint)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Within, no other process of the sweep takes or frees a trial."""
        with _held(self._lock):
            yield


def wanted_trials(sweep: Sweep, trials: int | None = None) -> int:
    """How many trials a sweep is to have: so many, the file's `run_cap`, or all points of a grid, which has no more.

    Raises:
        UserError: If nobody says how many.
    """
    points = len(space.grid(sweep.parameters)) if sweep.method == "grid" else None
    wanted = trials or sweep.run_cap or points
    if wanted is None:
        cause = f"a {sweep.method} search has no end of its own"
        raise UserError(cause, key=str(sweep.file), hint="write run_cap: 20 into the file, or give --trials 20")
    return wanted if points is None else min(wanted, points)


def sampler(sweep: Sweep, number: int) -> BaseSampler:
    """What draws the parameters of one trial: seeded by its number, so that it does not matter who draws them."""
    seed = zlib.crc32(f"{sweep.name} {number}".encode())
    if sweep.method == "bayes":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return RandomSampler(seed=seed)


def pruner(sweep: Sweep) -> BasePruner:
    """What W&B calls hyperband is one bracket of it: successive halving that does not wait, at fixed bands."""
    if sweep.early is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=sweep.early.first, reduction_factor=sweep.early.eta)


@contextmanager
def _held(lock: JournalFileOpenLock) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _mend(journal: Path) -> None:
    """Cuts off a last line that a dying machine left half written."""
    if journal.exists():
        data = journal.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(journal, data.rfind(b"\n") + 1)
    else:
        journal.touch()
