"""Gaussians and their mixtures: sample, log-density and score in closed form, and their laws after noising."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import Self

from fmlab.distributions.base import LabelledDistribution, drawing_device
from fmlab.errors import UserError


class GaussianMixture(LabelledDistribution):
    r"""The law with density $\sum_k w_k N(x; m_k, S_k)$ on vectors; K components in d dimensions.

    Every covariance is kept as eigenvalues and eigenvectors. Adding isotropic noise then only shifts the eigenvalues,
    and a singular covariance (a point, a line) can still be sampled and noised; only its density does not exist.
    The class of a point is the component it was drawn from.

    Args:
        weights: K numbers >= 0; they are normalised to sum to one.
        means: Shape (K, d).
        covariances: Shape (K, d, d), symmetric and positive semidefinite.

    Raises:
        UserError: When shapes do not agree, a weight is negative, or a covariance is not symmetric and positive
            semidefinite.
    """

    def __init__(
        self,
        weights: Tensor | Sequence[float],
        means: Tensor | Sequence[Sequence[float]],
        covariances: Tensor | Sequence[Sequence[Sequence[float]]],
    ) -> None:
        self.means = _floating(means)
        self.weights = _like(weights, self.means)
        covariances = _like(covariances, self.means)
        name = type(self).__name__
        if self.means.ndim != 2 or self.weights.shape != self.means.shape[:1]:
            raise UserError(
                f"{name} needs K weights and means of shape (K, d), "
                f"got {tuple(self.weights.shape)} and {tuple(self.means.shape)}"
            )
        count, dimension = self.means.shape
        if covariances.shape != (count, dimension, dimension):
            raise UserError(
                f"{name} needs covariances of shape {(count, dimension, dimension)}, got {tuple(covariances.shape)}"
            )
        if (self.weights < 0).any() or not self.weights.sum() > 0:
            raise UserError(f"{name} needs weights that are >= 0 and not all zero")
        scale = covariances.abs().amax().clamp_min(torch.finfo(covariances.dtype).tiny)
        tolerance = 1e3 * torch.finfo(covariances.dtype).eps * scale
        if not ((covariances - covariances.mT).abs() <= tolerance).all():
            raise UserError(f"{name} needs symmetric covariances")
        variances, axes = torch.linalg.eigh(covariances)
        if not (variances >= -tolerance).all():
            raise UserError(f"{name} needs positive semidefinite covariances")
        self.weights = self.weights / self.weights.sum()
        self.variances, self.axes = variances.clamp_min(0.0), axes
        self.shape = (dimension,)
        self.num_classes = count

    @property
    def covariances(self) -> Tensor:
        """Shape (K, d, d)."""
        return (self.axes * self.variances.unsqueeze(-2)) @ self.axes.mT

    @property
    def mean(self) -> Tensor:
        """The mean of the whole law, shape (d,)."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        """The covariance of the whole law, shape (d, d)."""
        offset = self.means - self.mean
        return torch.einsum("k,kij->ij", self.weights, self.covariances + offset[:, :, None] * offset[:, None, :])

    def _draw(
        self, n: int, generator: torch.Generator | None, device: torch.device | str | None
    ) -> tuple[Tensor, Tensor]:
        where = drawing_device(generator)
        label = torch.multinomial(self.weights.to(where), n, replacement=True, generator=generator)
        noise = torch.randn(n, *self.shape, generator=generator, device=where, dtype=self.means.dtype)
        roots = (self.axes * self.variances.sqrt().unsqueeze(-2)).to(where)
        x = self.means.to(where)[label] + torch.einsum("nij,nj->ni", roots[label], noise)
        return x.to(device or where), label.to(device or where)

    def restricted(self, label: int) -> Self:
        if self.num_classes is None or not 0 <= label < self.num_classes:
            raise UserError(f"{type(self).__name__} has no class {label}", key="labels")
        law = copy.copy(self)
        law.weights = torch.ones_like(self.weights[:1])
        law.means, law.variances, law.axes = (
            part[label : label + 1] for part in (self.means, self.variances, self.axes)
        )
        law.num_classes = None
        return law

    def log_density(self, x: Tensor) -> Tensor:
        return torch.logsumexp(self._joint_log_density(x), dim=-1)

    def score(self, x: Tensor) -> Tensor:
        return torch.einsum("bk,bkd->bd", self.responsibilities(x), self._component_scores(x))

    def responsibilities(self, x: Tensor) -> Tensor:
        """The probability that x came from each component, shape (B, K)."""
        return self._joint_log_density(x).softmax(dim=-1)

    def diffused(self, alpha: float | Tensor, beta: float | Tensor) -> Self:
        """The law of `alpha z + beta eps`, z from this law and eps standard normal: of the same class again.

        Args:
            alpha: The signal's scale, a number or a tensor of one element.
            beta: The noise's scale, likewise.
        """
        alpha, beta = _like(alpha, self.means), _like(beta, self.means)
        law = copy.copy(self)
        law.means = alpha * self.means
        law.variances = alpha**2 * self.variances + beta**2
        return law

    def posterior(self, x: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """E[z | x], E[eps | x] and the score of x = alpha z + beta eps, without dividing by alpha or beta.

        In the axes of component k, with variance V = alpha^2 S + beta^2 and offset y = x - alpha m, the expected data
        are m + alpha S y / V, the expected noise beta y / V and the score -y / V; the law's own are their averages
        over the components' responsibilities. A singular covariance without noise (beta = 0) leaves nothing to divide
        by in some axes: there the data are the mean and the expected noise is 0, but the score does not exist.

        Args:
            x: Points of shape (B, d).
            alpha: The data's factor a point, of shape (B, 1).
            beta: The noise's factor, likewise.
        """
        axes, means, variances = self.axes.to(x), self.means.to(x), self.variances.to(x)
        offset = x[:, None] - alpha[..., None] * means
        along = torch.einsum("kij,bki->bkj", axes, offset)
        total = alpha[..., None] ** 2 * variances + beta[..., None] ** 2
        total = total.clamp_min(torch.finfo(x.dtype).tiny ** 0.75)  # its square's quotient is still finite
        fit = -0.5 * (along**2 / total + total.log()).sum(-1)
        share = (self.weights.to(x).log() + fit).softmax(-1)[..., None]
        whitened = along / total

        def back(vectors: Tensor) -> Tensor:
            return torch.einsum("kij,bkj->bi", axes, share * vectors)

        score = -back(whitened)
        data = (share * means).sum(1) + alpha * back(variances * whitened)
        return data, -beta * score, score

    def _joint_log_density(self, x: Tensor) -> Tensor:
        variances = self._positive_variances().to(x)
        along = self._along_axes(x)
        constant = self.shape[0] * math.log(2 * math.pi) + variances.log().sum(-1)
        return self.weights.to(x).log() - 0.5 * ((along**2 / variances).sum(-1) + constant)

    def _component_scores(self, x: Tensor) -> Tensor:
        return -torch.einsum("kij,bkj->bki", self.axes.to(x), self._along_axes(x) / self._positive_variances().to(x))

    def _along_axes(self, x: Tensor) -> Tensor:
        """The offsets of x from each mean, along each component's own axes: (B, K, d)."""
        return torch.einsum("kij,bki->bkj", self.axes.to(x), x.unsqueeze(1) - self.means.to(x))

    def _positive_variances(self) -> Tensor:
        if not (self.variances > 0).all():
            raise UserError(
                f"{type(self).__name__} with a singular covariance has no density",
                hint="diffused(alpha, beta) with beta > 0 has one",
            )
        return self.variances


class Gaussian(GaussianMixture):
    """The normal law N(mean, covariance) on vectors.

    Args:
        mean: Shape (d,).
        covariance: Shape (d, d), symmetric and positive semidefinite.

    Raises:
        UserError: When shapes do not agree or the covariance is not symmetric and positive semidefinite.
    """

    def __init__(self, mean: Tensor | Sequence[float], covariance: Tensor | Sequence[Sequence[float]]) -> None:
        mean = _floating(mean)
        super().__init__(torch.ones(1), mean.unsqueeze(0), _like(covariance, mean).unsqueeze(0))
        self.num_classes = None


def _floating(values: Tensor | Sequence) -> Tensor:
    values = torch.as_tensor(values)
    return values if values.is_floating_point() else values.to(torch.get_default_dtype())


def _like(values: Tensor | Sequence | float, reference: Tensor) -> Tensor:
    """Of the reference's type at once: Python's numbers do not pass through float32."""
    return torch.as_tensor(values, dtype=reference.dtype, device=reference.device)
