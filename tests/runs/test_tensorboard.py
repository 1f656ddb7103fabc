"""TensorBoard by one flag."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.tiny_runs import arguments
from lightning.fabric.loggers import tensorboard as lightnings

from fmlab.__main__ import main
from fmlab.records import RunLayout, read_metrics

Fit = Callable[..., RunLayout]


def test_one_flag_writes_events(fit: Fit) -> None:
    """The numbers of `metrics.csv`, and the sample grid; the record tells the network's size and the memory."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = fit("--tensorboard.enabled=true")
    events = reader.EventAccumulator(str(run.root / "tensorboard")).Reload()
    written = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    rows = read_metrics(run.metrics)
    for name in ("train/loss", "val/fid_domain", "perf/memory_gib"):
        expected = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]
        assert written[name] == expected
    assert events.Tags()["images"] == ["samples/w2"]
    assert 0.01 < rows[-1].get("perf/memory_gib", 1.0) < 100
    network = json.loads(run.meta.read_text())["network"]
    assert network["parameters"] > 1000
    assert network["flops"] > network["parameters"]


def test_without_the_flag_there_is_nothing(fit: Fit) -> None:
    assert not (fit(steps=2).root / "tensorboard").exists()


def test_where_it_is_not_installed_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(lightnings, name, False)
    assert main(["fit", *arguments(tmp_path), "--tensorboard.enabled=true"]) == 2
    message = capsys.readouterr().err.strip()
    assert "pip install tensorboard" in message
    assert len(message.splitlines()) <= 3
    assert not list((tmp_path / "digits").iterdir()), "a run that could not be built leaves no folder"
