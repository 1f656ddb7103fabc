"""Means in bins of time against the same numbers taken apart by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch

from fmlab.objectives import MeansByTime


def test_means_and_standard_errors_in_bins() -> None:
    t, values = torch.rand(500), torch.randn(2, 500, dtype=torch.float64)
    means = MeansByTime(["a", "b"], bins=4)
    for part in torch.arange(500).split(130):
        means.add(t[part], values[:, part])
    for row, name in enumerate(("a", "b")):
        for index, mean in enumerate(means.by_bin(name)):
            inside = values[row, (t >= index / 4) & (t < (index + 1) / 4)]
            assert mean.draws == len(inside)
            assert mean.value == pytest.approx(inside.mean().item())
            assert mean.error == pytest.approx((inside.std() / math.sqrt(len(inside))).item())
        assert means.overall(name).error == pytest.approx((values[row].std() / math.sqrt(500)).item())


def test_totals_of_processes_add_up() -> None:
    t, values = torch.rand(100), torch.randn(1, 100)
    whole, first, second = (MeansByTime(["a"]) for _ in range(3))
    whole.add(t, values)
    first.add(t[:30], values[:, :30])
    second.add(t[30:], values[:, 30:])
    first.totals += second.totals
    assert first.overall("a").value == pytest.approx(whole.overall("a").value)
    assert first.overall("a").error == pytest.approx(whole.overall("a").error)


def test_the_record_is_json_even_where_nothing_was_drawn() -> None:
    means = MeansByTime(["a"], bins=2)
    means.add(torch.tensor([0.9, 1.0, 0.1]), torch.tensor([[1.0, 3.0, 5.0]]))
    record = json.loads(json.dumps(means.record(), allow_nan=False))
    assert record["bins"][0] == {"t": [0.0, 0.5], "draws": 1, "a": 5.0, "a_error": None}
    assert record["bins"][1] == {"t": [0.5, 1.0], "draws": 2, "a": 2.0, "a_error": 1.0}
    assert record["overall"]["a"] == 3.0
    means.add(torch.tensor([0.3]), torch.tensor([[math.nan]]))
    assert means.record()["bins"][0]["a"] is None
