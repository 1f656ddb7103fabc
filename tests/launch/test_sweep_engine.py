"""Sweeps that run here: every trial once, whatever is killed when, and each with its end and its reason."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.trivial import write_sweep

from fmlab.__main__ import main
from fmlab.launch.slurm.client import MAX_RESTARTS, NOTICE
from fmlab.launch.sweep.ledger import HIDDEN, Ledger, Outcome, TrialView
from fmlab.launch.sweep.owner import GRACE, Owner, SignOfLife
from fmlab.launch.sweep.sweep_file import read_sweep
from fmlab.launch.sweep.trial import time_to_save, trial_environment
from fmlab.launch.sweep.worker import Stop, worker_command

Sweep = Callable[..., list[TrialView]]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Writes a sweep over the small program, runs it by the command, and returns its trials."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *arguments: str, code: int = 0, name: str = "trivial") -> list[TrialView]:
        file = write_sweep(tmp_path, text, name)
        assert main(["sweep", str(file), *arguments]) == code
        return Ledger(read_sweep(file), tmp_path / "runs" / name).views()

    return run


def loss(view: TrialView) -> float:
    """What the program computes with one report."""
    return float((view.parameters["x"] - 2) ** 2 + view.parameters.get("y", 0) + 0.1)


def test_a_grid_runs_every_point_and_a_crash_stops_nothing(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    text = "method: grid\nparameters:\n  x: {values: [1, 2.5]}\n  fault: {values: [false, true]}"
    views = sweep(text, "--workers", "2")
    points = [(view.parameters["x"], view.parameters["fault"]) for view in views]
    assert points == [(1, False), (1, True), (2.5, False), (2.5, True)]
    assert [view.state for view in views] == ["done", "failed", "done", "failed"]
    assert [view.value for view in views if view.state == "done"] == pytest.approx([1.1, 0.35])
    assert all(view.reason == "error: this one is broken (exit code 1)" for view in views if view.state == "failed")
    output = capsys.readouterr().out
    assert "2 done, 2 failed; best loss 0.35" in output
    assert f"best       runs/trivial/{views[2].folder.name}  x=2.5 fault=false" in output
    assert "x=1 fault=true: error: this one is broken (exit code 1)" in output


def test_the_same_command_goes_on_and_repeats_nothing(sweep: Sweep, tmp_path: Path) -> None:
    text = "method: random\nparameters:\n  x: {min: 0.0, max: 4.0}"
    first = sweep(text, "--trials", "2")
    more = sweep(text, "--trials", "4")
    assert more[:2] == first, "what was done stays as it was"
    assert [view.state for view in more] == ["done"] * 4
    assert sweep(text, "--trials", "4") == more


def test_random_trials_do_not_depend_on_who_draws_them(sweep: Sweep) -> None:
    text = "name: drawn\nmethod: random\nrun_cap: 4\nparameters:\n  x: {min: 0.0, max: 4.0}\n  y: {values: [1, 2, 3]}"
    one = sweep(text, name="drawn")
    two = sweep(text, "--workers", "3", "--dir", "elsewhere", name="drawn")
    assert [view.folder.parent for view in two] == [one[0].folder.parent] * 4, "the helper looks in runs"
    other = Ledger(read_sweep(Path("drawn.yaml")), Path("elsewhere/drawn")).views()
    assert [view.parameters for view in other] == [view.parameters for view in one]
    assert len({view.parameters["x"] for view in one}) == 4


def test_bad_trials_are_stopped_early(sweep: Sweep) -> None:
    text = (
        "method: grid\nparameters:\n  x: {values: [2, 9, 8, 2.1]}\n  reports: {value: 6}\n  seconds: {value: 0.6}\n"
        "early_terminate: {type: hyperband, min_iter: 2, eta: 2}"
    )
    views = sweep(text)
    assert [view.state for view in views] == ["done", "pruned", "pruned", "done"] or [view.state for view in views] == [
        "done",
        "pruned",
        "pruned",
        "pruned",
    ]
    for view in views[1:3]:
        rows = (view.folder / "metrics.csv").read_text().splitlines()
        assert len(rows) - 1 < 6, "the process itself was stopped"
        assert '"pruned"' in (view.folder / "status.json").read_text()
    assert len((views[0].folder / "metrics.csv").read_text().splitlines()) == 7


def test_a_trial_that_never_logs_its_metric_has_failed(sweep: Sweep) -> None:
    (view,) = sweep("method: grid\nparameters:\n  x: {value: 1}\n  reports: {value: 0}", code=1)
    assert (view.state, view.reason) == ("failed", "it never logged loss; there is nothing to choose from")


def test_a_folder_holds_one_search(sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep("method: grid\nparameters:\n  x: {values: [1]}")
    file = write_sweep(tmp_path, "method: grid\nparameters:\n  x: {values: [1, 2]}")
    assert main(["sweep", str(file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("runs/trivial holds another sweep")
    assert len(lines) == 2


def test_a_search_without_an_end_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sweep(tmp_path, "method: random\nparameters:\n  x: {min: 0.0, max: 1.0}")
    assert main(["sweep", str(file), "--dir", str(tmp_path / "runs")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"error: {file}: a random search has no end of its own"
    assert "--trials 20" in lines[1]


def test_workers_of_an_array_share_the_trials(tmp_path: Path) -> None:
    """Two tasks of a cluster's array, each for one trial: what `worker_command` starts."""
    file = write_sweep(tmp_path, "method: grid\nparameters:\n  x: {values: [1, 3, 5]}")
    ledger = Ledger.begin(read_sweep(file), tmp_path / "runs" / "trivial")
    tasks = [
        subprocess.Popen([sys.executable, "-m", "fmlab", *worker_command(file, tmp_path / "runs", 1)]) for _ in range(2)
    ]
    assert [task.wait(60) for task in tasks] == [0, 0]
    assert sorted(view.state for view in ledger.views()) == ["done", "done", "waiting"]
    assert {view.parameters["x"] for view in ledger.views() if view.state == "done"} == {1, 3}


def test_what_a_dead_worker_left_is_taken_over_and_its_process_ended(tmp_path: Path) -> None:
    file = write_sweep(
        tmp_path,
        "method: random\nrun_cap: 1\nparameters:\n  x: {min: 0.0, max: 9.0}\n"
        "  reports: {value: 200}\n  seconds: {value: 0.5}",
    )
    ledger = Ledger.begin(read_sweep(file), tmp_path / "runs" / "trivial")
    worker = subprocess.Popen([sys.executable, "-m", "fmlab", *worker_command(file, tmp_path / "runs")])
    rows = tmp_path / "runs" / "trivial"
    wait_for(lambda: any(rows.glob("*/metrics.csv")), "no trial began")
    worker.kill()
    worker.wait()
    before = ledger.views()[0]
    process = ledger.study.trials[0].user_attrs["process"]["pid"]
    os.kill(process, 0)  # it has outlived its worker
    with SignOfLife(tmp_path / "signs") as owner:
        claim = ledger.claim(owner)
        assert claim is not None
        assert ledger.claim(owner) is None, "it was taken, and is no second time"
        assert (claim.number, claim.parameters) == (0, before.parameters), "what was drawn stays drawn"
    wait_for(
        lambda: not Path(f"/proc/{process}").exists() or " Z " in Path(f"/proc/{process}/stat").read_text(), "alive"
    )


def test_a_trial_that_was_taken_over_is_not_ended_by_its_old_worker(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, "method: grid\nparameters:\n  x: {values: [1]}")
    ledger = Ledger.begin(read_sweep(file), tmp_path / "runs" / "trivial")
    gone = subprocess.Popen(["true"])
    old = Owner.of(gone.pid)
    gone.wait()
    first = ledger.claim(old)
    with SignOfLife(tmp_path / "signs") as new:
        second = ledger.claim(new)
        assert first is not None
        assert second is not None
        assert first.number == second.number
        ledger.finish(first, old, Outcome("failed", reason="too late"))
        assert [view.state for view in ledger.views()] == ["running"]
        ledger.finish(second, new, Outcome("done", 1.0))
    assert [(view.state, view.value, view.reason) for view in ledger.views()] == [("done", 1.0, None)]


def wait_for(condition: Callable[[], bool], message: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


@pytest.mark.slow
def test_two_hundred_trials_survive_workers_killed_at_random(tmp_path: Path) -> None:
    """Workers, and once the engine, die by SIGKILL at any moment; each trial is counted once."""
    text = f"method: grid\nparameters:\n  x: {{values: {list(range(100))}}}\n  y: {{values: [0, 1]}}"
    file = write_sweep(tmp_path, text)
    command = [sys.executable, "-m", "fmlab", "sweep", str(file), "--workers", "4", "--dir", str(tmp_path / "runs")]
    sweep, kills, over = tmp_path / "runs" / "trivial", [0, 0], threading.Event()
    draw = random.Random(7)

    def begun() -> int:
        return len(list(sweep.glob("trivial-*")))

    def kill() -> None:
        """Kills by what was done since the last one, so that a fast machine does not end before enough died."""
        due = draw.randint(3, 10)
        while not over.wait(0.02):
            if begun() < due or over.wait(draw.uniform(0, 0.3)):
                continue
            pids = [int(sign.name.split("-")[-2]) for sign in (sweep / HIDDEN / "workers").glob("*-*-*")]
            if pids:
                try:
                    os.kill(draw.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills[0] += 1
                due = begun() + draw.randint(3, 10)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        deadline = time.monotonic() + 580
        while True:
            engine = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            while (code := engine.poll()) is None and time.monotonic() < deadline:
                if kills[1] == 0 and begun() >= 80:
                    engine.kill()
                    kills[1] += 1
                time.sleep(0.05)
            assert code is not None, "it does not come to an end"
            if code != -signal.SIGKILL:
                break
    finally:
        engine.kill()
        over.set()
        killer.join()
    assert code == 0
    views = Ledger(read_sweep(file), tmp_path / "runs" / "trivial").views()
    assert len(views) == 200
    assert {(view.parameters["x"], view.parameters["y"]) for view in views} == {
        (x, y) for x in range(100) for y in (0, 1)
    }
    assert {view.state for view in views} == {"done"}
    assert [view.value for view in views] == pytest.approx([loss(view) for view in views])
    assert begun() == 200
    assert kills[0] >= 10
    assert kills[1] == 1
    print(f"{kills[0]} workers and {kills[1]} engines killed")


def test_a_trial_in_a_task_of_slurm_starts_its_own_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is the worker's: Lightning would take it for the trial's, and the trial would requeue the job itself."""
    file = write_sweep(tmp_path, "method: grid\nparameters:\n  x: {values: [1]}")
    ledger = Ledger.begin(read_sweep(file), tmp_path / "runs" / "trivial")
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", MAX_RESTARTS: "5"}.items():
        monkeypatch.setenv(name, value)
    with SignOfLife(tmp_path / "workers") as owner:
        claim = ledger.claim(owner)
    assert claim is not None
    variables = trial_environment(ledger, claim)
    assert variables["SLURM_JOB_ID"] == "7", "the record says in which job it ran"
    assert not {"SLURM_NTASKS", "SLURM_PROCID", MAX_RESTARTS} & set(variables)


def test_a_trial_has_as_long_to_save_as_slurm_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NOTICE, raising=False)
    assert time_to_save() == GRACE
    monkeypatch.setenv(NOTICE, "600")
    assert 500 < time_to_save() < 600


def test_a_signal_may_come_while_a_worker_waits() -> None:
    """Its handler takes no lock that the waiting code may hold."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        stop = Stop()
        with stop._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.is_set()
        assert stop.first_signal == signal.SIGUSR1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_worker_of_one_trial_waits_to_see_whether_a_machine_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own task was requeued elsewhere: the trial it had seems to run still, on the machine that died."""
    file = write_sweep(tmp_path, "method: grid\nparameters:\n  x: {values: [1]}")
    folder = tmp_path / "runs" / "trivial"
    ledger = Ledger.begin(read_sweep(file), folder)
    sign = folder / HIDDEN / "workers" / "gone-1-ab"
    sign.parent.mkdir()
    sign.touch()
    lost = ledger.claim(Owner("gone", 1, "1", str(sign)))
    assert lost is not None
    task = subprocess.Popen([sys.executable, "-m", "fmlab", *worker_command(file, tmp_path / "runs", 1)])
    wait_for(lambda: len(list(sign.parent.iterdir())) == 2, "the worker did not begin")
    time.sleep(2)
    assert task.poll() is None, "it waits"
    os.utime(sign, (1, 1))  # as if nothing had been heard for long
    assert task.wait(60) == 0
    assert [view.state for view in ledger.views()] == ["done"]


@pytest.mark.parametrize("damage", ["emptied", "removed", "begun in the middle", "half a line", "text"])
def test_a_damaged_journal_begins_no_trial_again(
    sweep: Sweep, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "method: grid\nparameters:\n  x: {values: [1, 2]}"
    views = sweep(text)
    journal = tmp_path / "runs" / "trivial" / HIDDEN / "journal.log"
    before = [(view.folder / "metrics.csv").read_bytes() for view in views]
    lines = journal.read_bytes().splitlines(keepends=True)
    content = {
        "emptied": b"",
        "begun in the middle": b"".join(lines[2:]),
        "half a line": b"".join([*lines[:3], lines[3][:9], b"\n", *lines[4:]]),
        "text": b"nonsense\n",
    }
    if damage == "removed":
        journal.unlink()
    else:
        journal.write_bytes(content[damage])
    capfd.readouterr()
    assert main(["sweep", str(tmp_path / "trivial.yaml")]) == 2
    message = capfd.readouterr().err
    assert "journal.log" in message
    assert "Traceback" not in message
    assert [(view.folder / "metrics.csv").read_bytes() for view in views] == before


def test_a_trial_that_is_killed_is_tried_again_a_few_times(sweep: Sweep, tmp_path: Path) -> None:
    (tmp_path / "kill.py").write_text(
        "import os, pathlib, signal, sys\n"
        "from fmlab.records import CsvMetrics, trial_folder\n"
        "mark = trial_folder() / 'killed'\n"
        "if sys.argv[1] == '--x=2' or not mark.exists():\n"
        "    mark.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "CsvMetrics(trial_folder() / 'metrics.csv').write(0, {'loss': 1.0})\n"
    )
    file = tmp_path / "killed.yaml"
    command = f'command: ["{sys.executable}", "{tmp_path}/kill.py", "${{args}}"]'
    text = "method: grid\nparameters:\n  x: {values: [1, 2]}"
    file.write_text(f"program: kill.py\nmetric: {{name: loss, goal: minimize}}\n{command}\n{text}\n")
    assert main(["sweep", str(file)]) == 0
    views = Ledger(read_sweep(file), tmp_path / "runs" / "killed").views()
    assert [view.state for view in views] == ["done", "failed"]
    assert "SIGKILL" in str(views[1].reason)
