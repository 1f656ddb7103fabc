"""The divergence of a field's velocity at a point: exact, or estimated with one probe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.random import Purpose, keyed_generator
from fmlab.solvers.base import Field

ProbeLaw = Literal["rademacher", "gaussian"]


class Divergence(ABC):
    """How div v = sum_i dv_i / dx_i is found at every point of a batch.

    Each point's velocity has to depend on that point alone, as it does for any field (not for a network that
    normalises over the batch).
    """

    def velocity_and_divergence(self, field: Field, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity at `x` (B, *event) and its divergence (B,), by one evaluation of the field.

        Both are differentiable, in the field's parameters too, where `x` requires a gradient and gradients are enabled.

        Raises:
            UserError: If the field's velocity is not differentiable.
        """
        keep = torch.is_grad_enabled() and x.requires_grad
        with torch.enable_grad():
            x = x if keep else x.detach().requires_grad_()
            velocity = field(x, t).velocity
            if not velocity.requires_grad:
                raise UserError("the field's velocity has no derivative: is it computed without gradients?")
            divergence = self._divergence(velocity, x, keep)
        return (velocity, divergence) if keep else (velocity.detach(), divergence.detach())

    @abstractmethod
    def _divergence(self, velocity: Tensor, x: Tensor, keep: bool) -> Tensor:
        """The divergence (B,) of `velocity` at `x`; `keep` asks for one that can be differentiated in turn."""


class ExactDivergence(Divergence):
    """The divergence itself, by as many backward passes as a point has entries: for small dimensions."""

    def _divergence(self, velocity: Tensor, x: Tensor, keep: bool) -> Tensor:
        entries = velocity.flatten(1).unbind(1)
        return torch.stack(
            [_gradient(entry.sum(), x, keep).flatten(1)[:, place] for place, entry in enumerate(entries)]
        ).sum(0)

    def __repr__(self) -> str:
        return "ExactDivergence()"


class HutchinsonDivergence(Divergence):
    """The estimate e^T J e, by one backward pass (Hutchinson 1989; Grathwohl et al. 2019, FFJORD).

    Unbiased for any probe e of mean 0 and covariance 1. The probe is the object's own: it stays the same from step to
    step, so that a solver follows one smooth function of time. With entries of +-1 the variance comes from the
    Jacobian's entries off the diagonal alone.

    Args:
        probe: e, one a point, of the points' shape (B, *event).
    """

    def __init__(self, probe: Tensor) -> None:
        self.probe = probe

    def _divergence(self, velocity: Tensor, x: Tensor, keep: bool) -> Tensor:
        if self.probe.shape != x.shape:
            raise UserError(f"a probe of shape {tuple(self.probe.shape)} for points of shape {tuple(x.shape)}")
        probe = self.probe.to(x)
        return (_gradient((velocity * probe).sum(), x, keep) * probe).flatten(1).sum(1)

    def __repr__(self) -> str:
        return f"HutchinsonDivergence(probe of shape {tuple(self.probe.shape)})"


def seeded_probe(seeds: Sequence[int], shape: Sequence[int], *keys: int, law: ProbeLaw = "rademacher") -> Tensor:
    """One probe a seed, of shape (len(seeds), *shape), drawn on the CPU: the same whatever else is in the batch.

    Args:
        seeds: One integer a point.
        shape: The event shape.
        keys: Which of the seed's probes.
        law: Entries of +-1, or standard normal ones.

    Raises:
        UserError: If there is no such law.
    """
    if law not in ("rademacher", "gaussian"):
        raise UserError(f"there is no probe {law!r}", key="law", hint="rademacher or gaussian")
    draws = []
    for seed in seeds:
        generator = keyed_generator(seed, Purpose.PROBE, *keys)
        if law == "gaussian":
            draws.append(torch.randn(*shape, generator=generator))
        else:
            draws.append(2.0 * torch.randint(2, tuple(shape), generator=generator) - 1.0)
    return torch.stack(draws)


def _gradient(value: Tensor, x: Tensor, keep: bool) -> Tensor:
    """d value / dx; the graph stays for the next gradient."""
    (gradient,) = torch.autograd.grad(value, x, retain_graph=True, create_graph=keep, allow_unused=True)
    if gradient is None:
        raise UserError("the field's velocity does not depend on x: is x detached on the way to it?")
    return gradient
