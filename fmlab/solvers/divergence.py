"""The divergence of a field's velocity at a point: exact, or estimated with one probe."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.representation import ShownByAttributes
from fmlab.solvers.base import Field


class Divergence(ShownByAttributes, ABC):
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
        differentiable = torch.is_grad_enabled() and x.requires_grad
        with torch.enable_grad():
            x = x if differentiable else x.detach().requires_grad_()
            velocity = field(x, t).velocity
            if not velocity.requires_grad:
                raise UserError("the field's velocity has no derivative: is it computed without gradients?")
            divergence = self._divergence(velocity, x, differentiable)
        return (velocity, divergence) if differentiable else (velocity.detach(), divergence.detach())

    @abstractmethod
    def _divergence(self, velocity: Tensor, x: Tensor, differentiable: bool) -> Tensor:
        """The divergence (B,) of `velocity` at `x`; which can be differentiated in turn where `differentiable`."""


class ExactDivergence(Divergence):
    """The divergence itself, by as many backward passes as a point has entries: for small dimensions."""

    def _divergence(self, velocity: Tensor, x: Tensor, differentiable: bool) -> Tensor:
        entries = velocity.flatten(1).unbind(1)
        return torch.stack(
            [_gradient(entry.sum(), x, differentiable).flatten(1)[:, index] for index, entry in enumerate(entries)]
        ).sum(0)


class HutchinsonDivergence(Divergence):
    """The estimate e^T J e, by one backward pass (Hutchinson 1989; Grathwohl et al. 2019, FFJORD).

    Unbiased for any probe e of mean 0 and covariance 1. The probe is the object's own: it stays the same from step to
    step, so that a solver follows one smooth function of time. With entries of +-1 the variance comes from the
    Jacobian's entries off the diagonal alone.

    Args:
        probe: e, one per point, of the points' shape (B, *event).
    """

    def __init__(self, probe: Tensor) -> None:
        self.probe = probe

    def _divergence(self, velocity: Tensor, x: Tensor, differentiable: bool) -> Tensor:
        if self.probe.shape != x.shape:
            raise UserError(f"a probe of shape {tuple(self.probe.shape)} for points of shape {tuple(x.shape)}")
        probe = self.probe.to(x)
        return (_gradient((velocity * probe).sum(), x, differentiable) * probe).flatten(1).sum(1)

    def __repr__(self) -> str:
        return f"HutchinsonDivergence(probe of shape {tuple(self.probe.shape)})"


def _gradient(value: Tensor, x: Tensor, differentiable: bool) -> Tensor:
    """d value / dx; the graph stays for the next gradient."""
    (gradient,) = torch.autograd.grad(value, x, retain_graph=True, create_graph=differentiable, allow_unused=True)
    if gradient is None:
        raise UserError("the field's velocity does not depend on x: is x detached on the way to it?")
    return gradient
