"""The benchmark of the metrics compares equal things, in turns."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch_fidelity")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    yield
    sys.modules.pop("metrics_speed", None)


def test_the_sides_take_turns_and_the_order_turns_too() -> None:
    from metrics_speed import in_turns

    order: list[str] = []
    seconds, results = in_turns({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 3)
    assert "".join(order) == "abbaab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert results == {"a": 5, "b": 6}


def test_both_sides_compute_one_distance() -> None:
    from metrics_speed import distance

    result = distance(64, 1)
    assert result["relative_difference"] < 1e-9
    assert result["ratio"] > 0


@pytest.mark.slow
def test_both_sides_compute_the_same_features_and_both_ratios_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from metrics_speed import main

    out = tmp_path / "speed.json"
    main(["--dimension", "64", "--images", "4", "--rounds", "1", "--out", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0].split(":")[0] for line in printed] == ["distance", "features"]
    assert all("ratio" in line for line in printed)
    results = json.loads(out.read_text())
    assert results["features"]["relative_difference"] < 1e-4
    assert results["distance"]["relative_difference"] < 1e-9
