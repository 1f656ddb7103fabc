"""A finite set of equally likely points: what training draws from, and its posterior after noising."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from typing_extensions import Self

from fmlab.distributions.base import LabelledDistribution, drawing_device
from fmlab.errors import UserError

# Stands in for beta = 0: small enough that the nearest point alone counts, and its inverse square is still finite.
_SMALLEST_BETA = 1e-150


class Empirical(LabelledDistribution):
    """The uniform law on N points of any event shape, such as a whole training set.

    The points are kept sorted by their label, so that those of one class are a slice of them.

    Args:
        points: Shape (N, *event).
        labels: The class of each, int64 of shape (N,), or None.
        num_classes: How many classes there are; the largest label + 1 if left out.
        chunk_size: How many points `posterior` looks at together; for B points of d entries it needs
            chunk_size x (B + d) numbers of memory beside the points, however many they are.

    Raises:
        UserError: When there are no points, or the labels do not fit them.
    """

    def __init__(
        self,
        points: Tensor | Sequence,
        labels: Tensor | Sequence[int] | None = None,
        num_classes: int | None = None,
        chunk_size: int = 4096,
    ) -> None:
        points = torch.as_tensor(points)
        points = points if points.is_floating_point() else points.to(torch.get_default_dtype())
        if points.ndim < 2 or len(points) == 0:
            raise UserError(f"Empirical needs points of shape (N, *event), got {tuple(points.shape)}", key="points")
        if chunk_size < 1:
            raise UserError(f"at least 1, got {chunk_size}", key="chunk_size")
        self.points, self.chunk_size, self.mirrored = points, chunk_size, False
        self.labels: Tensor | None = None
        self.shape = tuple(points.shape[1:])
        if labels is not None:
            self._sort(torch.as_tensor(labels, device=points.device), num_classes)
        self.squares = torch.cat([part.flatten(1).double().square().sum(1) for part in self.points.split(chunk_size)])

    def _sort(self, labels: Tensor, num_classes: int | None) -> None:
        if labels.shape != self.points.shape[:1] or labels.is_floating_point():
            raise UserError(
                f"{len(self.points)} points need as many whole numbers as labels, got {tuple(labels.shape)}",
                key="labels",
            )
        self.num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise UserError(f"a label lies outside 0 to {self.num_classes - 1}", key="labels")
        order = labels.argsort(stable=True)
        self.points, self.labels = self.points[order], labels[order].long()

    def __len__(self) -> int:
        """How many points there are, mirror images included."""
        return len(self.points) * (2 if self.mirrored else 1)

    def with_mirrored(self) -> Self:
        """The law that also holds each point mirrored in its last axis: images flipped left to right half of the time.

        A mirror image is made when it is needed and takes no memory.
        """
        law = copy.copy(self)
        law.mirrored = True
        return law

    def restricted(self, label: int) -> Self:
        if self.labels is None or self.num_classes is None:
            raise UserError("these points have no labels", key="labels")
        first, last = torch.searchsorted(self.labels, self.labels.new_tensor([label, label + 1])).tolist()
        if first == last:
            raise UserError(f"there is no point of class {label}", key="labels")
        law = copy.copy(self)
        law.points, law.squares = self.points[first:last], self.squares[first:last]
        law.labels = law.num_classes = None
        return law

    def to(self, device: torch.device | str) -> Self:
        """The same law with its points on a device; on the CPU where a device (MPS) has no float64."""
        device = "cpu" if torch.device(device).type == "mps" else device
        law = copy.copy(self)
        law.points, law.squares = self.points.to(device), self.squares.to(device)
        law.labels = None if self.labels is None else self.labels.to(device)
        return law

    def _draw(
        self, n: int, generator: torch.Generator | None, device: torch.device | str | None
    ) -> tuple[Tensor, Tensor | None]:
        where = drawing_device(generator)
        rows = torch.randint(len(self.points), (n,), generator=generator, device=where).to(self.points.device)
        x = self.points[rows].to(device or where)
        if self.mirrored:
            coin = torch.rand(n, generator=generator, device=where) < 0.5
            x = torch.where(coin.to(x.device).view(-1, *[1] * len(self.shape)), x.flip(-1), x)
        return x, None if self.labels is None else self.labels[rows].to(device or where)

    def posterior(self, x: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, None]:
        """E[z | x] and E[eps | x] of x = alpha z + beta eps: averages over all points with softmax weights.

        The weight of point z is proportional to exp((alpha x . z - alpha^2 |z|^2 / 2) / beta^2). Points are read
        `chunk_size` at a time, with a running maximum and sum of the weights, so that no matrix of all pairs exists
        (unless gradients are kept). All of it is computed in float64: the exponent is a small difference of numbers
        that grow like d / beta^2. In float32 it was off by 1 at beta = 0.02 for points of 3,072 entries, and by 100 at
        beta = 0.002.

        With beta = 0 the nearest point has all the weight, and the expected noise is 0: x says nothing about it.

        Args:
            x: Points of shape (B, d).
            alpha: The data's factor a point, of shape (B, 1).
            beta: The noise's factor, likewise.
        """
        exact, alpha, beta = x.double(), alpha.to(x.device).double(), beta.to(x.device).double()
        divisor = beta.clamp_min(_SMALLEST_BETA)
        top = exact.new_full((len(x), 1), -math.inf)
        weight, total = torch.zeros_like(top), torch.zeros_like(exact)
        for points, squares in self._chunks(exact):
            fit = (alpha * (exact @ points.mT) - alpha**2 / 2 * squares) / divisor**2
            highest = torch.maximum(top, fit.detach().amax(1, keepdim=True))  # cancels: not to be differentiated
            shrink, share = torch.exp(top - highest), torch.exp(fit - highest)
            weight = shrink * weight + share.sum(1, keepdim=True)
            total = shrink * total + share @ points
            top = highest
        data = total / weight
        noise = torch.where(beta > 0, (exact - alpha * data) / divisor, torch.zeros_like(exact))
        return data.to(x.dtype), noise.to(x.dtype), None

    def _chunks(self, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Points (n, d) and their squared norms (n,), in the type and on the device of `like`."""
        for points, squares in zip(self.points.split(self.chunk_size), self.squares.split(self.chunk_size)):
            points, squares = points.to(like), squares.to(like)
            yield points.flatten(1), squares
            if self.mirrored:
                yield points.flip(-1).flatten(1), squares
