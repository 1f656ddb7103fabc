from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmlab.records import RunLayout, read_status, write_status


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


def test_a_status_is_written_and_read(layout: RunLayout) -> None:
    assert read_status(layout).state == "unknown"
    write_status(layout, "running", step=5)
    status = read_status(layout)
    assert (status.state, status.step, status.pid) == ("running", 5, os.getpid())
    assert abs(status.updated - time.time()) < 60
    write_status(layout, "failed", error="ValueError: no")
    status = read_status(layout)
    assert (status.state, status.step, status.error) == ("failed", 5, "ValueError: no")
    write_status(layout, "done", step=9)
    assert (read_status(layout).state, read_status(layout).error) == ("done", None)


def test_a_file_cut_short_is_no_status(layout: RunLayout) -> None:
    layout.status.write_text('{"state": "run')
    assert read_status(layout).state == "unknown"


@pytest.mark.parametrize("collected", [True, False])
def test_a_killed_run_was_interrupted(layout: RunLayout, collected: bool) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fmlab.records import RunLayout, write_status;"
        f"write_status(RunLayout(Path({str(layout.root)!r})), 'running', step=3); print('ready', flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert read_status(layout).state == "running"
        process.send_signal(signal.SIGKILL)
        if collected:
            process.wait()
        for _ in range(100):  # the signal takes a moment
            if read_status(layout).state != "running":
                break
            time.sleep(0.05)
        assert (read_status(layout).state, read_status(layout).step) == ("interrupted", 3)


def test_another_process_with_the_number_of_a_dead_one_is_not_it(layout: RunLayout) -> None:
    write_status(layout, "running")
    stored = json.loads(layout.status.read_text())
    layout.status.write_text(json.dumps({**stored, "process": "an earlier one"}))
    assert read_status(layout).state == "interrupted"


def test_a_run_on_another_machine_counts_as_running(layout: RunLayout) -> None:
    write_status(layout, "running")
    status = read_status(layout)
    other = dataclasses.asdict(dataclasses.replace(status, host="elsewhere", pid=2**22 + 1))
    layout.status.write_text(json.dumps(other))
    assert read_status(layout).state == "running"


def test_a_restarted_job_knows_its_earlier_life(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM starts it again elsewhere, where nobody can look for the process of before."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    write_status(layout, "running")
    stored = json.loads(layout.status.read_text())
    layout.status.write_text(json.dumps({**stored, "host": "elsewhere"}))
    assert read_status(layout).state == "running"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert read_status(layout).state == "interrupted"
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    assert read_status(layout).state == "running", "that job may still be there"
