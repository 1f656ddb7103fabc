"""Real jobs on a real SLURM, which `tests/slurm/start.sh` starts: submit, stop, requeue, resume, arrays, failures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import slurm_jobs
from helpers.slurm_jobs import NEEDS_SLURM, cancel, settle, until
from helpers.tiny_runs import EXPERIMENTS, TINY

from fmlab.__main__ import main
from fmlab.records import RunLayout, read_metrics, read_status

pytestmark = [pytest.mark.slow, NEEDS_SLURM]

JOBS: list[str] = []
"""What the test has submitted, to be cancelled when it ends."""

LONG = ["--trainer.max_steps=400", "--trainer.val_check_interval=200", "--checkpoint.every_n_steps=1000"]
SHORT = ["--trainer.max_steps=20", "--trainer.val_check_interval=20"]
QUICK = ["--trainer.log_every_n_steps=2", "--samples.enabled=false", "--floor.enabled=false"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settle(tmp_path, monkeypatch)
    JOBS.clear()
    yield
    for job in JOBS:
        cancel(job)


def submit(*arguments: str) -> list[RunLayout]:
    """Submits a tiny run and returns the records of its runs."""
    before = set(Path("runs").glob("*/*"))
    cluster = ["--slurm.cpus_per_task", "1", "--slurm.time", "00:30:00"]
    file = ["--config", str(EXPERIMENTS / "digits.yaml")] if "--config" not in arguments else []
    assert main(["submit", *file, *TINY, *QUICK, "--trainer.devices=1", *cluster, *arguments]) == 0
    runs = [run for run in Path("runs").glob("*/*") if run not in before]
    layouts = [RunLayout(run.resolve()) for run in sorted(runs, key=lambda run: job_of(RunLayout(run)))]
    JOBS.extend(map(job_of, layouts))
    return layouts


def job_of(layout: RunLayout) -> str:
    return str(json.loads((layout.root / "slurm.json").read_text())["job"])


def queued(layout: RunLayout) -> str:
    return " ".join(slurm_jobs.queued(job_of(layout)))


def ended(layout: RunLayout) -> bool:
    return queued(layout) in ("", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")


def trains(layout: RunLayout) -> bool:
    return layout.metrics.is_file() and len(read_metrics(layout.metrics)) > 3


def printed(layout: RunLayout) -> str:
    return "".join(file.read_text() for file in sorted(layout.root.glob("slurm-*.out")))


def weights(layout: RunLayout) -> dict[str, torch.Tensor]:
    return dict(torch.load(layout.last, weights_only=True)["state_dict"])


def signal(layout: RunLayout, name: str) -> None:
    subprocess.run(["scancel", f"--signal={name}", job_of(layout)], check=True)


def test_two_tasks_train_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    (layout,) = submit("--trainer.devices=2", *SHORT)
    assert "--ntasks-per-node=2" in (layout.root / "submit.sbatch").read_text()
    until("the job's end", lambda: ended(layout))
    assert read_status(layout).state == "done", printed(layout)
    assert "2 x cpu" in printed(layout)
    assert len(list(layout.root.parent.iterdir())) == 1, "no run beside it"
    capsys.readouterr()
    assert main(["runs"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert "done" in row
    assert "20/20" in row
    assert job_of(layout) in row


def test_a_warned_job_is_requeued_and_loses_no_step() -> None:
    """SIGUSR1, as before the time limit: saved, requeued, gone on, to the same bits as a run that nobody stopped."""
    (layout,) = submit(*LONG)
    until("some steps", lambda: trains(layout))
    signal(layout, "USR1")
    until("the requeue", lambda: "SLURM requeues job" in printed(layout) or queued(layout) == "PENDING")
    until("the end", lambda: read_status(layout).state == "done" and ended(layout))
    assert "stopped by SIGUSR1" in printed(layout)
    assert "(from step" in printed(layout)
    (whole,) = submit(*LONG)
    until("the other's end", lambda: ended(whole))
    assert read_status(whole).state == "done", printed(whole)
    resumed, expected = weights(layout), weights(whole)
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    steps = [row["step"] for row in read_metrics(layout.metrics)]
    assert steps == [row["step"] for row in read_metrics(whole.metrics)], "no point lost, none doubled"


def test_restarts_have_an_end() -> None:
    (layout,) = submit(*LONG, "--max_restarts", "1", "--trainer.max_steps=100000")
    until("some steps", lambda: trains(layout))
    rows = len(read_metrics(layout.metrics))
    signal(layout, "USR1")
    until("the second life", lambda: "(from step" in printed(layout) and len(read_metrics(layout.metrics)) > rows + 3)
    signal(layout, "USR1")
    until("the end", lambda: ended(layout))
    assert "restarted 1 times already" in printed(layout)
    assert read_status(layout).state == "preempted"


def test_a_terminated_job_saves_and_can_go_on() -> None:
    (layout,) = submit(*LONG)
    until("some steps", lambda: trains(layout))
    signal(layout, "TERM")
    until("the end", lambda: ended(layout))
    assert read_status(layout).state == "preempted", printed(layout)
    assert layout.last.is_file()
    assert main(["fit", "--resume", str(layout.root), "--trainer.max_steps=401"]) == 0


def test_a_cancelled_job_saves_and_is_not_requeued() -> None:
    (layout,) = submit(*LONG, "--trainer.max_steps=100000")
    until("some steps", lambda: trains(layout))
    subprocess.run(["scancel", job_of(layout)], check=True)
    until("the end", lambda: ended(layout))
    until("the last words", lambda: read_status(layout).state == "preempted")
    assert layout.last.is_file()
    assert queued(layout) == "CANCELLED"


def test_an_array_is_a_run_for_each_seed() -> None:
    layouts = submit(*SHORT, "--array", "2", "--seed_everything=5")
    assert len(layouts) == 2
    assert [job_of(layout).partition("_")[2] for layout in layouts] == ["0", "1"]
    for layout in layouts:
        until("the end", lambda layout=layout: ended(layout))
        assert read_status(layout).state == "done", printed(layout)
    seeds = [f"seed_everything: {seed}" in layout.config.read_text() for seed, layout in zip((5, 6), layouts)]
    assert seeds == [True, True]
    first, second = map(weights, layouts)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_job_that_fails_says_why_and_uses_the_code_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """A network of the user's own, copied when submitted: what is changed while the job waits changes nothing."""
    Path("my_net.py").write_text(
        "from fmlab.networks import DiT\n\n\nclass Mine(DiT):\n"
        "    def forward(self, x, t, condition=None):\n        raise RuntimeError('the code as it was')\n"
    )
    (layout,) = submit(
        *SHORT, "--model.network=my_net.Mine", "--fid.enabled=false", "--slurm.options", "[--begin=now+3]"
    )
    Path("my_net.py").write_text("raise SystemExit('edited later')\n")
    until("the end", lambda: ended(layout))
    status = read_status(layout)
    assert status.state == "failed", printed(layout)
    assert "the code as it was" in str(status.error)
    capsys.readouterr()
    assert main(["runs", "--state", "failed"]) == 0
    assert layout.id in capsys.readouterr().out
