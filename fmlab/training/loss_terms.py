"""How far a loss can fall: what the exact field loses on the draws of training, and what a network loses beyond it.

The loss of flow matching is L = E |u_theta(x_t) - y|^2 for the conditional target y; with u = E[y | x_t] it is
E |u_theta - u|^2 + E Var(y | x_t) (Lipman et al. 2023, theorem 2). The second term, the floor, is what a perfect
network loses; the first, the excess, is what training can still gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from fmlab.fields import ExactField, PosteriorMean
from fmlab.objectives import MeansByTime
from fmlab.paths import GaussianPath, PathPrediction, PathSample, Posterior

Measure = Callable[[PathPrediction, PathSample], Tensor]
"""`measure(prediction, point)`: the loss a sample, (B,), a weighted square of an error that is linear in both."""

TrainingDraw = tuple[PathSample, Tensor | None]
"""What one batch of training draws: points on the path, and the condition of each, or None."""

TERMS = ("loss", "floor", "excess", "difference", "size")


def loss_terms(prediction: PathPrediction, exact: Posterior, point: PathSample, measure: Measure) -> Tensor:
    """The terms of the loss on the same draws, of shape (5, B), in the order of `TERMS`.

    * loss: the network's, against the conditional target;
    * floor: the exact field's, against the same target;
    * excess: the network's, against the exact field. It estimates E |u_theta - u|^2 and is never negative;
    * difference: loss - floor. It has the same mean as the excess, but is noisy with the draws of the target. That
      both agree is a check that the exact field is the one that training regresses on;
    * size: E |u|^2, the excess of a network that answers 0 everywhere. The excess relative to it needs no unit.

    Args:
        prediction: The network's.
        exact: The exact field's, at the same points.
        point: What training drew.
        measure: The loss a sample.
    """
    loss, floor = measure(prediction, point), measure(exact, point)
    target = replace(point, velocity=exact.velocity, noise=exact.noise)
    zero = torch.zeros_like(point.x)
    zero_answer = replace(exact, expected_data=zero, expected_noise=zero, exact_score=None)
    return torch.stack([loss, floor, measure(prediction, target), loss - floor, measure(zero_answer, target)])


@torch.no_grad()
def loss_floor(
    law: PosteriorMean, path: GaussianPath, draws: Iterable[TrainingDraw], measure: Measure, bins: int = 10
) -> MeansByTime:
    """The loss of a perfect network, by time: the mean `floor`, with its standard error in each bin of t.

    Args:
        law: The law of all data that training draws from; with classes where draws have conditions.
        path: The path.
        draws: Batches as training draws them, with noise independent of the data.
        measure: The loss a sample.
        bins: The number of bins of [0, 1].
    """
    means = MeansByTime(["floor"], bins)
    for point, condition in draws:
        exact = ExactField(law, path, condition).evaluate(point.x, point.t)
        means.add(point.t, measure(exact, point).unsqueeze(0))
    return means
