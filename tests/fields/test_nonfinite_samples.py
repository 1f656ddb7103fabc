"""Samples that are not finite: said, counted, and never measured as if they were."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fmlab.distributions import Gaussian
from fmlab.fields import ExactField, Generated, Sampling, collect, generate
from fmlab.paths import CondOT
from fmlab.solvers import Euler, UniformGrid


class Spoilt(ExactField):
    """The exact field of a Gaussian, NaN where the first entry is positive."""

    def evaluate(self, x: Tensor, t: Tensor) -> object:
        value = super().evaluate(x, t)
        value.expected_data[x[:, 0] > 0] = math.nan
        return value


def test_what_is_not_finite_is_said_and_counted() -> None:
    law = Gaussian([-5.0, 0.0], [[0.01, 0.0], [0.0, 1.0]])
    sampling = Sampling(Euler(), 4, UniformGrid())
    with pytest.warns(UserWarning, match=r"\d+ of 20 samples are not finite"):
        batch = collect(generate(lambda _: Spoilt(law, CondOT()), sampling, range(20), (2,)))
    assert 0 < int(batch.finite.sum()) < 20
    assert torch.equal(batch.finite, ~batch.samples.isnan().any(1))
    infinite = Generated(torch.tensor([[[1.0, math.inf]], [[1.0, 2.0]]]), 1, None)
    assert infinite.finite.tolist() == [False, True]
