"""The rows of `fmlab runs`, from records and a queue that a script answers for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.written_runs import write_run

from fmlab.launch.overview import COLUMNS, overview


@pytest.mark.parametrize(
    ("recorded", "queued", "state"),
    [
        ("submitted", "PENDING", "pending"),
        ("preempted", "REQUEUED", "preempted, pending"),
        ("running", "RUNNING", "running"),
        ("running", "NODE_FAIL", "node fail"),
        ("preempted", "CANCELLED", "preempted"),
        ("done", "FAILED", "done"),
    ],
)
def test_the_queue_is_asked_about_runs_that_have_not_ended(
    recorded: str, queued: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho '17_1 {queued}'\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    layout = write_run(tmp_path / "runs", 1.0, state=recorded)
    (layout.root / "command.txt").write_text("fmlab fit\n")
    (layout.root / "slurm.json").write_text(json.dumps({"job": "17_1"}))
    ((_, shown, step, speed, best, job, _),) = overview([tmp_path / "runs"], 5)
    assert (shown, step, speed, job) == (state, "1000/1000", "900 images/s", "17_1")
    assert best == "val/fid_domain 0.99", "the best of all validations"
    assert len(overview([tmp_path / "runs"], 5, {state})) == 1
    assert overview([tmp_path / "runs"], 5, {"failed"}) == []


def test_the_newest_runs_come_first(tmp_path: Path) -> None:
    for number in range(3):
        layout = write_run(tmp_path, 1.0, seed=number, run_id=f"2026010{number + 1}-000000-aaaa")
        (layout.root / "command.txt").write_text("fmlab fit\n")
    rows = overview([tmp_path], 2)
    assert [row[0] for row in rows] == ["made/20260103-000000-aaaa", "made/20260102-000000-aaaa"]
    assert len(rows[0]) == len(COLUMNS)
