"""Training on points of the plane: the package's parts in a plain loop, for tables of small networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fmlab.fields import run_network
from fmlab.paths import Output, PathSample, ProbabilityPath


@dataclass(frozen=True)
class Pairs:
    """Data with the draws of the source that go with them, and what the network is told of each.

    Attributes:
        data: Of shape (n, 2).
        source: Of shape (n, 2).
        condition: Of shape (n, k), or None.
    """

    data: Tensor
    source: Tensor
    condition: Tensor | None = None

    def rows(self, rows: Tensor | slice) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.data[rows], self.source[rows], None if self.condition is None else self.condition[rows])

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True)
class Problem:
    """What is learned: a network's output on a path, by the squared error of the velocity (and of the noise).

    Attributes:
        network: What is trained.
        path: The path between the pairs.
        output: `velocity`, or `velocity_and_score` on a path with noise.
    """

    network: nn.Module
    path: ProbabilityPath
    output: Output = "velocity"

    def draw(self, pairs: Pairs, generator: torch.Generator) -> PathSample:
        """A point of the path for each pair, at a uniform time and with fresh noise where the path needs it."""
        t = self.path.clip(torch.rand(len(pairs), generator=generator), self.output)
        noise = torch.randn(pairs.data.shape, generator=generator) if self.path.needs_noise else None
        return self.path.draw(pairs.data, pairs.source, t, noise)

    def loss(self, point: PathSample, condition: Tensor | None = None) -> Tensor:
        """The mean loss at such points."""
        prediction = run_network(self.network, self.path, self.output, point.x, point.t, condition)
        loss = functional.mse_loss(prediction.velocity, point.velocity)
        if self.output == "velocity_and_score":
            assert point.noise is not None
            loss = loss + functional.mse_loss(prediction.noise, point.noise)
        return loss

    def steps(self, pairs: Pairs, batch: int, generator: torch.Generator) -> Iterator[tuple[PathSample, Tensor | None]]:
        """Points and conditions of one optimizer step after another, drawn together, which is cheaper."""
        drawn = self.draw(pairs, generator)
        for first in range(0, len(pairs), batch):
            rows = slice(first, first + batch)
            noise = None if drawn.noise is None else drawn.noise[rows]
            scale = drawn.noise_scale[rows] if len(drawn.noise_scale) == len(pairs) else drawn.noise_scale
            point = PathSample(drawn.x[rows], drawn.t[rows], drawn.velocity[rows], noise, scale)
            yield point, None if pairs.condition is None else pairs.condition[rows]


def train(
    problem: Problem,
    chunks: Iterator[Pairs],
    batch: int,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    check: Callable[[], float] | None = None,
) -> None:
    """One optimizer step a batch of each chunk.

    Args:
        problem: What is learned.
        chunks: The pairs of some steps at a time.
        batch: Pairs a step.
        optimizer: Of the network's parameters.
        generator: Where times and noise come from.
        check: A validation loss, asked for after every chunk; the network ends with the weights at which it was least.
    """
    least, best = float("inf"), None
    for pairs in chunks:
        for point, condition in problem.steps(pairs, batch, generator):
            optimizer.zero_grad(set_to_none=True)
            problem.loss(point, condition).backward()
            optimizer.step()
        if check is not None:
            with torch.no_grad():
                value = check()
            if value < least:
                least, best = value, copy.deepcopy(problem.network.state_dict())
    if best is not None:
        problem.network.load_state_dict(best)
