"""Time samplers and the loss by time (facts F28)."""

from __future__ import annotations

import math

import pytest
import torch

from fmlab.errors import UserError
from fmlab.objectives import Independent, LogitNormal, LossByTime, Uniform


def test_logit_normal_has_its_density() -> None:
    """F28: P(0.3 < t < 0.7) = 0.60317 for (0, 1); the median is sigmoid(mean)."""
    t = LogitNormal(0.0, 1.0).sample(200_000, torch.Generator().manual_seed(0))
    assert ((t > 0.3) & (t < 0.7)).float().mean().item() == pytest.approx(0.60317, abs=4e-3)
    shifted = LogitNormal(-1.0, 0.5).sample(200_000, torch.Generator().manual_seed(0))
    assert shifted.median().item() == pytest.approx(1 / (1 + math.e), abs=2e-3)
    assert torch.logit(shifted).std().item() == pytest.approx(0.5, abs=5e-3)
    with pytest.raises(UserError, match="std"):
        LogitNormal(std=0)


def test_uniform_covers_the_unit_interval() -> None:
    t = Uniform().sample(100_000, torch.Generator().manual_seed(0))
    assert t.dtype == torch.float32
    counts = torch.histc(t, 10, 0, 1) / len(t)
    assert counts.tolist() == pytest.approx([0.1] * 10, abs=5e-3)


def test_independent_coupling_keeps_the_draw() -> None:
    noise = torch.randn(4, 2)
    assert Independent().pair(torch.randn(4, 2), noise, None, torch.Generator()) is noise


def test_loss_by_time_sums_in_its_bins() -> None:
    bins = LossByTime(4)
    bins.add(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.1, 0.2, 0.6]))
    bins.add(torch.tensor([8.0]), torch.tensor([1.0]))
    assert bins.take().tolist() == [[3, 0, 4, 8], [2, 0, 1, 1]]
    assert bins.take().sum() == 0
