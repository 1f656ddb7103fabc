"""What a model says of a path at (x, t), seen as velocity, score, noise or data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor
from typing_extensions import Self

from fmlab.errors import UserError
from fmlab.paths.base import Kind, ProbabilityPath, expand_time
from fmlab.paths.gaussian import GaussianPath, gaussian_path

Combination = Callable[[Tensor, Tensor], Tensor]
"""`function(own, other's)`: one quantity from two of the same kind, all shaped like x."""


class PathPrediction(ABC):
    """Velocity v = dx/dt, score s = grad log p_t(x), and the expected noise and data, at one (x, t).

    For marginal quantities v = E[alpha' z + beta' eps | x], z = E[z | x], eps = E[eps | x] and s = -eps / beta.

    Attributes:
        path: The path.
        x: Where, of shape (B, *event).
        t: When, of shape () or (B,).
    """

    path: ProbabilityPath
    x: Tensor
    t: Tensor

    @property
    @abstractmethod
    def velocity(self) -> Tensor:
        """The velocity of the flow, dx/dt."""

    @property
    @abstractmethod
    def score(self) -> Tensor:
        """The score grad log p_t(x)."""

    @property
    @abstractmethod
    def noise(self) -> Tensor:
        """The expected noise E[eps | x]."""

    @property
    @abstractmethod
    def data(self) -> Tensor:
        """The expected data E[z | x]."""

    @abstractmethod
    def combine(self, other: PathPrediction, function: Combination) -> PathPrediction:
        """The prediction whose quantities are `function(own, other's)`, at the same (x, t).

        The function is applied to the quantities that this prediction holds; the others are converted from the results.
        Every conversion is affine in the value, with a slope and an offset that depend on (x, t) alone. So it does not
        matter which quantities are held if the function is a own + b other's + c (other's - own) with a + b = 1,
        coefficients a, b that are numbers per sample, and c any linear map.
        """

    def mix(self, other: PathPrediction, weight: float | Tensor) -> PathPrediction:
        """(1 - weight) self + weight other, at the same (x, t); a weight, or one per sample that broadcasts against x.

        Mixing commutes with converting: guidance means the same in all four quantities.
        """
        return self.combine(other, lambda own, others: (1 - weight) * own + weight * others)

    def moved(self, kind: Kind, change: Tensor) -> PathPrediction:
        """The prediction with its quantity of a kind changed by `change`, on a Gaussian path.

        What the others change by is what a prediction of `change` at x = 0 converts to, clipping of `t` included.

        Raises:
            UserError: If the path is not Gaussian.
        """
        path = gaussian_path(self.path, "a prediction changed by its " + kind)
        difference = Prediction(path, torch.zeros_like(change), self.t, kind, change)
        return self.combine(difference, torch.add)

    def rows(self, start: int, stop: int) -> Self:
        """The prediction at some of its points."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor) and part.ndim > 0}
        return replace(self, **{name: part[start:stop] for name, part in tensors.items()})  # type: ignore[type-var]

    def as_kind(self, kind: Kind) -> Tensor:
        """The quantity of the given kind."""
        quantity: Tensor = getattr(self, kind)
        return quantity


@dataclass(frozen=True)
class Prediction(PathPrediction):
    """One of the four quantities on a Gaussian path; the others are converted from it on demand.

    Any one fixes the others through x = alpha z + beta eps (Lipman et al. 2024, table 1). Where a conversion would
    divide by 0, its `t` is clipped as `GaussianPath` says; values never are.

    Attributes:
        path: The Gaussian path.
        x: Where, of shape (B, *event).
        t: When, of shape () or (B,).
        kind: Which quantity `value` is.
        value: The quantity, shaped like `x`.
    """

    path: GaussianPath
    x: Tensor
    t: Tensor
    kind: Kind
    value: Tensor

    @cached_property
    def velocity(self) -> Tensor:
        """The velocity of the flow, dx/dt."""
        if self.kind == "velocity":
            return self.value
        path, x = self.path, self.x
        if self.kind == "data":
            t = expand_time(path.clip_for(self.t, beta=True), x)
            return (path.beta_dot(t) * x + path.wronskian(t) * self.value) / path.beta(t)
        t = expand_time(path.clip_for(self.t, alpha=True), x)
        noise = self.value if self.kind == "noise" else -path.beta(t) * self.value
        return (path.alpha_dot(t) * x - path.wronskian(t) * noise) / path.alpha(t)

    @cached_property
    def noise(self) -> Tensor:
        """The expected noise E[eps | x]."""
        path, x = self.path, self.x
        if self.kind == "noise":
            return self.value
        if self.kind == "score":
            return -path.beta(expand_time(self.t, x)) * self.value
        if self.kind == "data":
            t = expand_time(path.clip_for(self.t, beta=True), x)
            return (x - path.alpha(t) * self.value) / path.beta(t)
        t = expand_time(path.clip_for(self.t, wronskian=True), x)
        return (path.alpha_dot(t) * x - path.alpha(t) * self.value) / path.wronskian(t)

    @cached_property
    def data(self) -> Tensor:
        """The expected data E[z | x], by Tweedie's formula."""
        path, x = self.path, self.x
        if self.kind == "data":
            return self.value
        if self.kind == "velocity":
            t = expand_time(path.clip_for(self.t, wronskian=True), x)
            return (path.beta(t) * self.value - path.beta_dot(t) * x) / path.wronskian(t)
        t = expand_time(path.clip_for(self.t, alpha=True), x)
        return (x - path.beta(t) * self.noise) / path.alpha(t)

    @cached_property
    def score(self) -> Tensor:
        """The score grad log p_t(x)."""
        self.path.require_score()
        if self.kind == "score":
            return self.value
        t = expand_time(self.path.clip_for(self.t, beta=True), self.x)
        return -self.noise / self.path.beta(t)

    def combine(self, other: PathPrediction, function: Combination) -> Prediction:
        return replace(self, value=function(self.value, other.as_kind(self.kind)))


@dataclass(frozen=True)
class Posterior(PathPrediction):
    """Expected data and expected noise, both given: nothing is divided by alpha or by D.

    This is what a closed form or another path's model knows. The velocity is alpha' E[z | x] + beta' E[eps | x].

    Attributes:
        path: The Gaussian path.
        x: Where, of shape (B, *event).
        t: When, of shape () or (B,).
        expected_data: E[z | x], shaped like `x`.
        expected_noise: E[eps | x], shaped like `x`.
        exact_score: The score where it is known without dividing by beta, or None.
    """

    path: GaussianPath
    x: Tensor
    t: Tensor
    expected_data: Tensor
    expected_noise: Tensor
    exact_score: Tensor | None = None

    @property
    def data(self) -> Tensor:
        return self.expected_data

    @property
    def noise(self) -> Tensor:
        return self.expected_noise

    @cached_property
    def velocity(self) -> Tensor:
        t = expand_time(self.path.clip_exact(self.t), self.x)
        return self.path.alpha_dot(t) * self.data + self.path.beta_dot(t) * self.noise

    @cached_property
    def score(self) -> Tensor:
        self.path.require_score()
        if self.exact_score is not None:
            return self.exact_score
        exact = self.path.beta_dot_infinite_at_end  # beta is not 0 where t may be
        t = self.path.clip_exact(self.t) if exact else self.path.clip_for(self.t, beta=True)
        t = expand_time(t, self.x)
        return -self.noise / self.path.beta(t)

    def combine(self, other: PathPrediction, function: Combination) -> Posterior:
        def combined(kind: Kind) -> Tensor:
            return function(self.as_kind(kind), other.as_kind(kind))

        exact = None if self.exact_score is None else combined("score")
        return replace(self, expected_data=combined("data"), expected_noise=combined("noise"), exact_score=exact)


@dataclass(frozen=True)
class FlowAndScore(PathPrediction):
    """A velocity, and a score of its own where there is one, on a path that need not convert between them.

    Attributes:
        path: The path.
        x: Where, of shape (B, *event).
        t: When, of shape () or (B,).
        flow: dx/dt, shaped like `x`.
        own_score: grad log p_t(x), or None where the model gives none.
    """

    path: ProbabilityPath
    x: Tensor
    t: Tensor
    flow: Tensor
    own_score: Tensor | None = None

    @property
    def velocity(self) -> Tensor:
        return self.flow

    @property
    def score(self) -> Tensor:
        if self.own_score is None:
            raise UserError(
                "the score is not known: the source is not Gaussian and the network has no score head",
                key="model.prediction",
                hint="train with prediction: velocity_and_score on a path with sigma > 0, or follow the ODE",
            )
        return self.own_score

    @property
    def noise(self) -> Tensor:
        return -self.path.noise_scale(expand_time(self.t, self.x)) * self.score

    @property
    def data(self) -> Tensor:
        if not isinstance(self.path, GaussianPath):
            raise UserError("the expected data is not known where the source is not Gaussian", key="path")
        return Prediction(self.path, self.x, self.t, "velocity", self.flow).data

    def combine(self, other: PathPrediction, function: Combination) -> FlowAndScore:
        score = None if self.own_score is None else function(self.own_score, other.score)
        return replace(self, flow=function(self.flow, other.velocity), own_score=score)
