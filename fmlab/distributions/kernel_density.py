"""A smooth law made of samples, in place of a law of which only samples are known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import Self

from fmlab.distributions.base import LabelledDistribution, drawing_device
from fmlab.errors import UserError

_AT_ONCE = 4_000_000
"""How many pairs of a point and a centre are looked at together."""


class KernelDensity(LabelledDistribution):
    r"""The law with density $\sum_i w_i N(x; c_i, h^2 I)$: weighted points seen through isotropic noise of one size.

    It is a `GaussianMixture` of equal isotropic components, with sums over the components as matrix products, so that
    thousands of them cost little.

    Args:
        points: The centres c, of shape (N, d).
        bandwidth: h, positive.
        weights: N positive numbers, normalised to sum to one; equal if left out.
        labels: The class of each centre, int64 of shape (N,), or None.

    Raises:
        UserError: If there are no points, or bandwidth or weights are not positive.
    """

    def __init__(
        self, points: Tensor, bandwidth: float, weights: Tensor | None = None, labels: Tensor | None = None
    ) -> None:
        points = torch.as_tensor(points).double()
        if points.ndim != 2 or len(points) == 0:
            raise UserError(f"KernelDensity needs points of shape (N, d), got {tuple(points.shape)}", key="points")
        if not 0 < bandwidth < math.inf:
            raise UserError(f"a bandwidth is positive, got {bandwidth}", key="bandwidth")
        weights = torch.ones(len(points)) if weights is None else weights
        if weights.shape != points.shape[:1] or not (weights > 0).all():
            raise UserError(f"{len(points)} points need as many positive weights", key="weights")
        self.points, self.bandwidth, self.labels = points, bandwidth, labels
        self.weights = weights.double() / weights.double().sum()
        self.shape = (points.shape[1],)
        self.num_classes = None if labels is None else int(labels.max()) + 1

    @classmethod
    def binned(cls, points: Tensor, labels: Tensor | None = None, cell: float = 0.1, bandwidth: float = 0.06) -> Self:
        """The samples gathered in square cells: one centre, their mean, for those of a class in a cell.

        Args:
            points: Samples of shape (N, d); the more, the better.
            labels: The class of each, or None.
            cell: The side of a cell; below two bandwidths the sum of the kernels shows no ripples.
            bandwidth: h.
        """
        points = points.double()
        keys = (points / cell).floor().long()
        keys = keys if labels is None else torch.cat([keys, labels[:, None].long()], 1)
        kinds, cells, counts = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
        sums = torch.zeros(len(kinds), points.shape[1], dtype=torch.float64).index_add_(0, cells, points)
        return cls(sums / counts[:, None], bandwidth, counts, None if labels is None else kinds[:, -1])

    def restricted(self, label: int) -> Self:
        if self.labels is None:
            return super().restricted(label)  # type: ignore[return-value]
        mine = self.labels == label
        if not mine.any():
            raise UserError(f"there is no point of class {label}", key="labels")
        return type(self)(self.points[mine], self.bandwidth, self.weights[mine])

    def diffused(self, alpha: float | Tensor, beta: float | Tensor) -> Self:
        """The law of `alpha z + beta eps`, z from this law and eps standard normal."""
        alpha, beta = float(alpha), float(beta)
        return type(self)(alpha * self.points, math.hypot(alpha * self.bandwidth, beta), self.weights, self.labels)

    def log_density(self, x: Tensor) -> Tensor:
        squares, parts = self.points.square().sum(1), []
        for part in self._parts(x):
            distance = part.square().sum(1, keepdim=True) + squares - 2 * part @ self.points.mT
            parts.append(torch.logsumexp(self.weights.log() - distance / (2 * self.bandwidth**2), 1))
        constant = self.shape[0] * math.log(math.sqrt(2 * math.pi) * self.bandwidth)
        return (torch.cat(parts) - constant).to(x.dtype)

    def density_on_grid(self, x: Tensor, y: Tensor) -> Tensor:
        """The density at every (x, y) of a grid in the plane, of shape (len(y), len(x)).

        A kernel is a product of one over x and one over y: the sum over all centres is one matrix product.
        """
        across, up = (
            torch.exp(-((places[:, None] - self.points[:, axis]) / self.bandwidth).square() / 2)
            for axis, places in enumerate((x.double(), y.double()))
        )
        return (up * self.weights) @ across.mT / (2 * math.pi * self.bandwidth**2)

    def score(self, x: Tensor) -> Tensor:
        one = torch.ones(len(x), 1)
        return self.posterior(x, one, torch.zeros_like(one))[2]

    def posterior(self, x: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """E[z | x], E[eps | x] and the score of x = alpha z + beta eps.

        Around centre c the point has variance s^2 = alpha^2 h^2 + beta^2. With the mean m of the centres under their
        responsibilities and r = (x - alpha m) / s^2, they are m + alpha h^2 r, beta r and -r.

        Args:
            x: Points of shape (B, d).
            alpha: The data's factor a point, of shape (B, 1).
            beta: The noise's factor, likewise.
        """
        exact, alpha, beta = x.double(), alpha.double(), beta.double()
        variance = (alpha * self.bandwidth).square() + beta.square()
        squares, means = self.points.square().sum(1), []
        for part, a, v in zip(self._parts(exact), self._parts(alpha), self._parts(variance)):
            fit = (a * (part @ self.points.mT) - a.square() / 2 * squares) / v
            means.append((fit + self.weights.log()).softmax(1) @ self.points)
        mean = torch.cat(means)
        residual = (exact - alpha * mean) / variance
        data = mean + alpha * self.bandwidth**2 * residual
        return data.to(x.dtype), (beta * residual).to(x.dtype), -residual.to(x.dtype)

    def _parts(self, rows: Tensor) -> Iterator[Tensor]:
        """The rows in parts that make no large matrix with the centres."""
        yield from rows.double().split(max(1, _AT_ONCE // len(self.points)))

    def _draw(
        self, n: int, generator: torch.Generator | None, device: torch.device | str | None
    ) -> tuple[Tensor, Tensor | None]:
        where = drawing_device(generator)
        rows = torch.multinomial(self.weights.to(where), n, replacement=True, generator=generator).cpu()
        noise = torch.randn(n, *self.shape, generator=generator, device=where, dtype=torch.float64)
        x = self.points[rows].to(where) + self.bandwidth * noise
        x = x.float().to(device or where)
        return x, None if self.labels is None else self.labels[rows].to(x.device)
