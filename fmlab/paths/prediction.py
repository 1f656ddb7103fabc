"""One network output, seen as velocity, score, noise or data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from fmlab.paths.gaussian import GaussianPath, Kind, expand_time


@dataclass(frozen=True)
class Prediction:
    """What is known about the path at (x, t), given as one of four quantities and converted on demand.

    For marginal quantities the four are v = E[alpha' z + beta' eps | x], z = E[z | x], eps = E[eps | x] and
    s = grad log p_t(x) = -eps / beta; any one fixes the others through x = alpha z + beta eps (Lipman et al. 2024,
    table 1). Where a conversion would divide by 0, its `t` is clipped as `GaussianPath` says; values never are.

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
        if self.kind == "score":
            return self.value
        t = expand_time(self.path.clip_for(self.t, beta=True), self.x)
        return -self.noise / self.path.beta(t)

    def as_kind(self, kind: Kind) -> Tensor:
        """The quantity of the given kind."""
        quantity: Tensor = getattr(self, kind)
        return quantity

    def mix(self, other: Prediction, weight: float) -> Prediction:
        """(1 - weight) self + weight other, at the same (x, t).

        Every conversion is affine in the value with coefficients that depend on (x, t) alone, so mixing commutes with
        converting: guidance means the same in all four quantities.
        """
        value = other.value if other.kind == self.kind else other.as_kind(self.kind)
        return replace(self, value=(1 - weight) * self.value + weight * value)
