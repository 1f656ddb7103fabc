"""What a network loses beyond a perfect one, measured on the same draws every time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from fmlab.data import DataModule
from fmlab.fields import ExactField, PosteriorMean, run_network
from fmlab.objectives import MeansByTime
from fmlab.paths import GaussianPath, PathSample, Posterior
from fmlab.training.exact_law import RepeatableDraws
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.loss_terms import TERMS, loss_terms


class ExcessLoss:
    """The terms of a module's loss (`fmlab.training.loss_terms.TERMS`) by time, on draws of training that repeat.

    Where it is measured again and again, the exact side of each draw is computed once and kept on the CPU; the law,
    whose points may be large, is let go after that.

    Args:
        module: What is trained; its loss and its path are measured.
        data: What it is trained on, in memory.
        law: The law whose exact field a perfect network would say.
        num_samples: How many draws of data, noise and t.
        batch_size: Draws a batch.
        rank: Which share of the batches is measured; the totals of all ranks add up.
        world_size: How many shares there are.
        repeated: Whether it is measured more than once.
    """

    def __init__(
        self,
        module: GenerativeModule,
        data: DataModule,
        law: PosteriorMean,
        num_samples: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        repeated: bool = True,
    ) -> None:
        self.module, self.repeated = module, repeated
        self.draws = RepeatableDraws(module, data, num_samples, batch_size)
        self.mine = range(rank, len(self.draws), world_size)
        self._law: PosteriorMean | None = law
        self._exact: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def measure(
        self,
        network: nn.Module,
        device: torch.device | str = "cpu",
        context: Callable[[], AbstractContextManager] = nullcontext,
    ) -> MeansByTime:
        """The terms of the loss of a network, on a device; its forwards run within `context()`, such as autocast."""
        module, means = self.module, MeansByTime(TERMS)
        for place, index in enumerate(self.mine):
            point, condition = self.draws.batch(index, device)
            known = [part.to(device) for part in self._exact_side(place, point, condition)]
            with context():
                output = run_network(network, module.path, module.prediction, point.x, point.t, condition)
            exact = Posterior(cast(GaussianPath, module.path), point.x, point.t, *known)
            means.add(point.t, loss_terms(output, exact, point, module.measure))
        if self.repeated:
            self._law = None
        return means

    def _exact_side(self, place: int, point: PathSample, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Expected data and noise at the points of a batch, kept on the CPU where they are needed again."""
        if place < len(self._exact):
            return self._exact[place]
        assert self._law is not None
        if hasattr(self._law, "to"):
            self._law = self._law.to(point.x.device)
        exact = ExactField(self._law, cast(GaussianPath, self.module.path), condition).evaluate(point.x, point.t)
        if self.repeated:
            self._exact.append((exact.data.cpu(), exact.noise.cpu()))
        return exact.data, exact.noise
