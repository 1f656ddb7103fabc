"""Runs on a mixture of which everything is known: perfect, wrong and copying networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fmlab.data import Toy2D
from fmlab.diagnosis.subject import Subject
from fmlab.distributions import Empirical
from fmlab.fields import ExactField, PosteriorMean, Sampling
from fmlab.paths import CondOT
from fmlab.solvers import Euler, Solver, UniformGrid
from fmlab.training.generative_module import FlowMatching


class Oracle(nn.Module):
    """Says what the exact field of a law says, and always the same beside it."""

    def __init__(self, law: PosteriorMean, wrong: float = 0.0) -> None:
        super().__init__()
        self.law, self.wrong = law, wrong

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return ExactField(self.law, CondOT(), condition)(x, t).velocity + self.wrong


def mixture(**changes: Any) -> Toy2D:
    return Toy2D("mixture", **{"train_size": 2000, "validation_size": 400, **changes})


def subject(
    data: Toy2D, law: PosteriorMean | None = None, solver: Solver | None = None, steps: int = 2, **changes: Any
) -> Subject:
    """A perfect network of the data's own law, unless told otherwise, sampled by Euler's method in two steps."""
    network = Oracle(law or data.distribution, changes.pop("wrong", 0.0))
    module = FlowMatching(network, num_classes=data.num_classes, label_dropout=changes.pop("label_dropout", 0.1))
    return Subject(
        module, data, Sampling(solver or Euler(), steps, UniformGrid()), **{"n": 200, "pairs": 64, **changes}
    )


def training_set(data: Toy2D) -> Empirical:
    return Empirical(data.split("train").take(torch.arange(data.train_size)))
