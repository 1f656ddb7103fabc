"""Whether two runs ended the same, bit for bit."""

from __future__ import annotations

from typing import Any

import torch

from fmlab.records import RunLayout, read_metrics

STATE = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")


def final_state(run: RunLayout) -> dict[str, Any]:
    return torch.load(run.last, weights_only=True)


def assert_identical(left: Any, right: Any, path: str = "") -> None:
    """Every tensor and number of two nested states is the same, bit for bit."""
    assert type(left) is type(right), path
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            assert_identical(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), path
        for index, pair in enumerate(zip(left, right)):
            assert_identical(*pair, f"{path}[{index}]")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), path
    else:
        assert left == right, path


def numbers(run: RunLayout) -> list[dict[str, float]]:
    """The rows of a run's log without what a clock or the machine's memory says."""
    rows = [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in read_metrics(run.metrics)]
    return [row for row in rows if len(row) > 1]


def assert_same_end(whole: RunLayout, other: RunLayout) -> None:
    """Weights, optimizer, schedule, averages, best scores, snapshots, log and pictures of two runs are the same."""
    first, second = final_state(whole), final_state(other)
    for name in STATE:
        assert_identical(first[name], second[name], name)
    for name in ("AveragedWeights", "PowerAverages", "Checkpoints"):
        assert_identical(*(state["callbacks"].get(name) for state in (first, second)), name)
    assert numbers(whole) == numbers(other)
    for folder in ("power_averages", "samples"):
        files = [{f.name: f.read_bytes() for f in getattr(run, folder).glob("*")} for run in (whole, other)]
        assert files[0] == files[1], folder
    if whole.best.exists():
        best = [torch.load(run.best, weights_only=True) for run in (whole, other)]
        assert_identical(best[0]["state_dict"], best[1]["state_dict"], "best")
