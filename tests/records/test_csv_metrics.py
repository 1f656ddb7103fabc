from __future__ import annotations

import csv
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fmlab.errors import UserError
from fmlab.records import CsvMetrics, count_rows, keep_rows, read_metrics
from fmlab.records.csv_metrics import read_columns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def test_a_new_metric_adds_a_column(path: Path) -> None:
    metrics = CsvMetrics(path)
    assert not path.exists()
    metrics.write(0, {"loss": 1.5})
    metrics.write(10, {"loss": 0.1 + 0.2, "lr": 1e-5})
    metrics.write(10, {"val/fid, 5k": 7})
    assert read_metrics(path) == [
        {"step": 0, "loss": 1.5},
        {"step": 10, "loss": 0.1 + 0.2, "lr": 1e-5},
        {"step": 10, "val/fid, 5k": 7.0},
    ]
    with path.open(newline="") as file:
        assert next(iter(csv.DictReader(file))) == {"step": "0", "loss": "1.5", "lr": "", "val/fid, 5k": ""}


def test_rows_without_new_columns_only_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = CsvMetrics(path)
    metrics.write(0, {"loss": 1.0, "lr": 2.0})
    file = path.stat().st_ino
    for step in range(1, 20):
        metrics.write(step, {"loss": 1.0})
    assert path.stat().st_ino == file
    assert len(read_metrics(path)) == 20


def test_values_that_are_not_finite_come_back(path: Path) -> None:
    CsvMetrics(path).write(1, {"a": math.nan, "b": -math.inf})
    row = read_metrics(path)[0]
    assert math.isnan(row["a"])
    assert row["b"] == -math.inf


def test_a_resumed_run_continues_after_its_checkpoint(path: Path) -> None:
    metrics = CsvMetrics(path)
    for step in range(6):
        metrics.write(step, {"loss": float(step)})
    assert count_rows(path) == 6
    keep_rows(path, 4)
    metrics = CsvMetrics(path)
    metrics.write(4, {"loss": 40.0})
    metrics.write(5, {"fid": 1.0})
    steps = [(row["step"], row.get("loss")) for row in read_metrics(path)]
    assert steps == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, None)]
    assert count_rows(path) == 6
    keep_rows(path, 0)
    assert count_rows(path) == 0
    assert read_metrics(path) == []
    assert path.read_text() == "step,loss,fid\n"


def test_truncating_a_missing_file_does_nothing(path: Path) -> None:
    keep_rows(path, 3)
    assert count_rows(path) == 0
    assert not path.exists()
    with pytest.raises(UserError, match="there are no metrics"):
        read_metrics(path)


@pytest.mark.parametrize("torn", ["2", "2,0", "2,0.5,", '2,"0.5'])
def test_a_line_torn_by_a_kill_is_dropped(path: Path, torn: str) -> None:
    whole = "step,loss,lr\n0,1.0,0.1\n1,2.0,0.1\n"
    path.write_text(whole + torn)
    assert [row["step"] for row in read_metrics(path)] == [0, 1]
    CsvMetrics(path).write(3, {"loss": 4.0})
    assert path.read_text() == whole + "3,4.0,\n"


def test_a_file_with_a_torn_header_begins_again(path: Path) -> None:
    path.write_text("step,lo")
    assert read_metrics(path) == []
    CsvMetrics(path).write(3, {"loss": 4.0})
    assert path.read_text() == "step,loss\n3,4.0\n"


def test_truncating_drops_a_torn_line_too(path: Path) -> None:
    path.write_text("step,loss\n1,2.0\n2,3.")
    assert count_rows(path) == 1
    keep_rows(path, 5)
    assert path.read_text() == "step,loss\n1,2.0\n"


def test_a_killed_writer_loses_nothing_it_had_written(path: Path) -> None:
    code = (
        "from pathlib import Path; from fmlab.records import CsvMetrics\n"
        f"metrics = CsvMetrics(Path({str(path)!r}))\n"
        "for step in range(10**9):\n"
        "    metrics.write(step, {'loss': 1 / (step + 1), **({f'm{step // 50}': 1.0} if step < 500 else {})})\n"
        "    step == 200 and print('ready', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    rows = read_metrics(path)
    assert len(rows) >= 201
    assert [row["step"] for row in rows] == list(range(len(rows)))
    CsvMetrics(path).write(len(rows), {"loss": 0.0})
    assert len(read_metrics(path)) == len(rows) + 1


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("step,loss,lr\n0,1.0,2.0\n1,1.0\n2,1.0,2.0\n", "row 3 has 2 cells, not 3"),
        ("step;loss\r\n0;1,0\r\n", "first column is 'step;loss'"),
        ("\ufeffstep,loss\r\n0,1.0\r\n", "first column is .*ufeffstep"),
        ('step,loss\n0,"1.0' + "0\n" * 100_000, "is no table"),
    ],
    ids=["cut", "semicolons", "byte order mark", "stray quote"],
)
def test_a_file_that_is_not_as_it_was_written_is_refused_whoever_reads_it(path: Path, text: str, cause: str) -> None:
    path.write_text(text, newline="", encoding="utf-8")
    for read in (read_metrics, lambda file: read_columns(file, bool), lambda file: keep_rows(file, 1)):
        with pytest.raises(UserError, match=cause) as caught:
            read(path)
        assert str(path) in str(caught.value.key)
    assert path.read_bytes() == text.encode()
