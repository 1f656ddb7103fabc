"""What a sweep shows, and what each of its workers gets of the machine."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from helpers.trivial import write_sweep
from rich.console import Console

from fmlab.launch.sweep.board import Board
from fmlab.launch.sweep.engine import share_machine
from fmlab.launch.sweep.ledger import Ledger, TrialView
from fmlab.launch.sweep.sweep_file import read_sweep


def view(number: int, state: str, x: float, value: float | None = None, reason: str | None = None) -> TrialView:
    return TrialView(number, state, {"x": x, "y": 0}, value, reason, Path(f"runs/trial-{number}"), 3.0)  # type: ignore[arg-type]


VIEWS = [
    view(0, "done", 1.0, 1.1),
    view(1, "failed", 2.0, None, "error: [red]broken[/red]"),
    view(2, "done", 2.5, 0.35),
    view(3, "running", 3.0, 0.2),
    view(4, "waiting", 4.0),
]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    parameters = "method: grid\nparameters:\n  x: {values: [1, 2, 2.5, 3, 4]}\n  y: {value: 0}"
    return Board(Ledger.begin(read_sweep(write_sweep(tmp_path, parameters)), tmp_path / "runs" / "trivial"))


def test_the_table_has_running_trials_first_and_then_the_best(board: Board) -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(board.table(VIEWS))
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines == [
        ["trial", "state", "x", "loss", "seconds"],
        ["4", "running", "3", "0.2", "3"],
        ["3", "done", "2.5", "0.35", "3", "best"],
        ["1", "done", "1", "1.1", "3"],
        ["2", "failed", "2", "3", "error:", "[red]broken[/red]"],
        ["5", "waiting", "4", "3"],
        ["1", "waiting,", "1", "running,", "2", "done,", "1", "failed;", "best", "loss", "0.35"],
    ]


def test_without_a_terminal_there_is_a_line_a_change(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    with board:
        board.show(VIEWS)
        board.show(VIEWS)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  1/5  done     x=1  loss 1.1  (3 s)  best 0.35",
        "  2/5  failed   x=2  (3 s)  error: [red]broken[/red]",
        "  3/5  done     x=2.5  loss 0.35  (3 s)  the best so far",
        "  4/5  running  x=3",
    ]


def test_workers_share_threads_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(8))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert share_machine(0, 1) == {}, "a single worker has everything"
    environments = [share_machine(index, 3) for index in range(3)]
    assert [share["OMP_NUM_THREADS"] for share in environments] == ["2", "2", "2"]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in environments] == ["4", "6", "4"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert "OMP_NUM_THREADS" not in share_machine(0, 3), "what the user has set stays"
