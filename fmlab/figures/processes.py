"""Stochastic processes whose laws are known exactly, to try solvers on before any network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fmlab.distributions import Distribution, GaussianMixture
from fmlab.errors import UserError
from fmlab.paths import ProbabilityPath
from fmlab.representation import ShownByAttributes


@dataclass(frozen=True)
class Drift:
    """The result of one evaluation of a process: the drift, shaped like x."""

    velocity: Tensor


@dataclass(frozen=True)
class TransitionLaw:
    """The normal law of X_t given X_0.

    Attributes:
        mean: Of shape (B, *event).
        covariance: Of an event's d flattened entries, of shape (d, d); of shape () for that many times the identity.
    """

    mean: Tensor
    covariance: Tensor

    @property
    def std(self) -> Tensor:
        """The standard deviation of every entry; broadcasts against the mean."""
        if self.covariance.ndim == 0:
            return self.covariance.sqrt()
        return self.covariance.diagonal().sqrt().view(self.mean.shape[1:])


class Process(ShownByAttributes, ABC):
    """dX = drift(X_t, t) dt + diffusion(t) dW, a field that lies on no path; its time runs from 0 to any t.

    Attributes:
        path: None.
        stochastic: Whether it has noise; without it every ODE solver follows it.
        shape: The event shape it needs, or None if any will do.
    """

    path: ProbabilityPath | None = None
    stochastic: bool = True
    shape: tuple[int, ...] | None = None

    @abstractmethod
    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        """The drift at `x` of shape (B, *event) and `t` of shape () or (B,)."""

    @abstractmethod
    def diffusion(self, t: Tensor) -> Tensor:
        """The diffusion coefficient, shaped like `t`."""

    @abstractmethod
    def law(self, x0: Tensor, t: float | Tensor) -> TransitionLaw:
        """The law of X_t at one time t >= 0 given X_0 = `x0` of shape (B, *event).

        Raises:
            UserError: If it has no closed form.
        """

    def __call__(self, x: Tensor, t: Tensor) -> Drift:
        """One evaluation."""
        return Drift(self.drift(x, t))


class LinearODE(Process):
    """dX/dt = A X + b without noise; X_t = exp(A t) X_0 + (the integral of exp(A s) from 0 to t) b.

    Args:
        matrix: A, d rows of d numbers; it acts on an event's d flattened entries.
        offset: b, d numbers; 0 if left out.
    """

    stochastic = False

    def __init__(self, matrix: Sequence[Sequence[float]], offset: Sequence[float] | None = None) -> None:
        rows = [[float(entry) for entry in row] for row in matrix]
        if not rows or any(len(row) != len(rows) for row in rows):
            raise UserError(f"LinearODE needs a square matrix, got {rows}", key="matrix")
        if offset is not None and len(offset) != len(rows):
            raise UserError(f"LinearODE needs an offset of {len(rows)} numbers, got {len(offset)}", key="offset")
        self.matrix, self.offset = rows, [0.0] * len(rows) if offset is None else [float(entry) for entry in offset]
        self.shape = (len(rows),)

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        flat = _flat(x, len(self.matrix), "LinearODE")
        return (flat @ x.new_tensor(self.matrix).mT + x.new_tensor(self.offset)).view(x.shape)

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def law(self, x0: Tensor, t: float | Tensor) -> TransitionLaw:
        # exp of [[A, b], [0, 0]] t holds exp(A t) and the integral at once.
        d = len(self.matrix)
        rows = [[*row, shift] for row, shift in zip(self.matrix, self.offset)]
        augmented = torch.tensor([*rows, [0.0] * (d + 1)], dtype=torch.float64)
        flow = torch.linalg.matrix_exp(augmented * float(t)).to(x0)
        mean = _flat(x0, d, "LinearODE") @ flow[:d, :d].mT + flow[:d, d]
        return TransitionLaw(mean.view(x0.shape), x0.new_zeros(()))

    def __repr__(self) -> str:
        offset = f", offset={self.offset}" if any(self.offset) else ""
        return f"LinearODE(matrix={self.matrix}{offset})"


class BrownianMotion(Process):
    """dX = sigma dW: X_t is normal with mean X_0 and variance sigma^2 t an entry.

    Args:
        sigma: The diffusion coefficient, positive.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        self.sigma = _positive(sigma, "sigma", "BrownianMotion")

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.sigma)

    def law(self, x0: Tensor, t: float | Tensor) -> TransitionLaw:
        return TransitionLaw(x0, x0.new_tensor(self.sigma**2 * float(t)))


class OrnsteinUhlenbeck(Process):
    """dX = theta (mean - X) dt + sigma dW: X_t forgets X_0 at the rate theta and tends to N(mean, sigma^2 / 2 theta).

    Args:
        theta: The rate at which it is drawn to the mean, positive.
        sigma: The diffusion coefficient, positive.
        mean: The value that every entry is drawn to.
    """

    def __init__(self, theta: float = 1.0, sigma: float = 1.0, mean: float = 0.0) -> None:
        self.theta = _positive(theta, "theta", "OrnsteinUhlenbeck")
        self.sigma, self.mean = _positive(sigma, "sigma", "OrnsteinUhlenbeck"), mean

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        return self.theta * (self.mean - x)

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.sigma)

    def law(self, x0: Tensor, t: float | Tensor) -> TransitionLaw:
        decay = math.exp(-self.theta * float(t))
        variance = -(self.sigma**2) * math.expm1(-2 * self.theta * float(t)) / (2 * self.theta)
        return TransitionLaw(self.mean + decay * (x0 - self.mean), x0.new_tensor(variance))


class Langevin(Process):
    """dX = sigma^2 / 2 grad log p(X) dt + sigma dW, which leaves the distribution p as it is and tends to it.

    The law given X_0 is known for a normal p.

    Args:
        distribution: p, any law whose score is known.
        sigma: The diffusion coefficient, positive; only the speed depends on it.
    """

    def __init__(self, distribution: Distribution, sigma: float = 1.0) -> None:
        self.sigma, self.distribution = _positive(sigma, "sigma", "Langevin"), distribution
        self.shape = distribution.shape
        try:
            distribution.score(torch.zeros(1, *distribution.shape))
        except UserError as error:
            hint = "Langevin follows a score, as Gaussian, GaussianMixture and EightGaussians have one"
            raise UserError(error.message, key="distribution", hint=hint) from error

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        flat = _flat(x, math.prod(self.distribution.shape), "Langevin")
        score = self.distribution.score(flat.view(len(x), *self.distribution.shape))
        return self.sigma**2 / 2 * score.view(x.shape)

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.sigma)

    def law(self, x0: Tensor, t: float | Tensor) -> TransitionLaw:
        p = self.distribution
        if not (isinstance(p, GaussianMixture) and len(p.means) == 1):
            cause = f"the law of Langevin at a time is not known for {type(p).__name__}"
            raise UserError(cause, key="distribution", hint="it is for Gaussian; the invariant law is the distribution")
        # Along each axis of the covariance it is an Ornstein-Uhlenbeck process of rate sigma^2 / (2 variance).
        mean, variances, axes = (part.to(x0)[0] for part in (p.means, p.variances, p.axes))
        decay = torch.exp(-(self.sigma**2) * float(t) / (2 * variances))
        offset = (_flat(x0, len(mean), "Langevin") - mean) @ axes
        moved = mean + (decay * offset) @ axes.mT
        return TransitionLaw(moved.view(x0.shape), (axes * variances * (1 - decay**2)) @ axes.mT)

    def __repr__(self) -> str:
        return f"Langevin({type(self.distribution).__name__}, sigma={self.sigma})"


def _positive(value: float, name: str, process: str) -> float:
    if not value > 0:
        raise UserError(f"{process} needs {name} > 0, got {value}", key=name)
    return value


def _flat(x: Tensor, entries: int, process: str) -> Tensor:
    """Flattens `x` to (B, d)."""
    flat = x.flatten(1)
    if flat.shape[1] != entries:
        raise UserError(f"this {process} moves events of {entries} entries, got shape {tuple(x.shape[1:])}", key="x")
    return flat
