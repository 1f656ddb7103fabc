"""The exact field of finitely many pairs of data and source, on any path: closed forms need a Gaussian source."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fmlab.distributions import KernelDensity
from fmlab.errors import UserError
from fmlab.fields.base import PathField
from fmlab.paths import FlowAndScore, GaussianPath, Interpolant, ProbabilityPath, expand_time

_AT_ONCE = 4_000_000
"""How many combinations of a point and a pair are looked at together."""


class PairedField(PathField):
    """The exact velocity and score of equally likely pairs (z, x_0) whose paths are seen through a little noise.

    Pair i is at m_i = alpha z_i + beta x_0i, with the path's own noise gamma eps and further h eta that is drawn once
    for all times. Given x it has a weight proportional to exp(-|x - m_i|^2 / 2 s^2), s^2 = gamma^2 + h^2. Averaged with
    these weights, m_i' + gamma gamma' (x - m_i) / s^2 is the velocity and -(x - m_i) / s^2 the score. Both are exact
    for pairs of any coupling; that there are finitely many of them is what h smooths over.

    It is computed in the precision of `x`.

    Args:
        path: A Gaussian path, whose noise the pairs then fix, or an `Interpolant`.
        data: z, of shape (N, *event).
        source: x_0, of the same shape.
        bandwidth: h, positive.

    Raises:
        UserError: If there are not as many of both, or the bandwidth is not positive.
    """

    def __init__(self, path: ProbabilityPath, data: Tensor, source: Tensor, bandwidth: float) -> None:
        super().__init__(path)
        if data.shape != source.shape or len(data) == 0:
            raise UserError(f"pairs need equal shapes, got {tuple(data.shape)} and {tuple(source.shape)}", key="source")
        if not bandwidth > 0:
            raise UserError(f"a bandwidth is positive, got {bandwidth}", key="bandwidth")
        if not isinstance(path, (GaussianPath, Interpolant)):
            raise UserError(f"the field of pairs has no closed form on {type(path).__name__}", key="path")
        self.schedule: GaussianPath = path.schedule if isinstance(path, Interpolant) else path
        self.data, self.source, self.bandwidth = data.flatten(1).double(), source.flatten(1).double(), bandwidth

    def evaluate(self, x: Tensor, t: Tensor) -> FlowAndScore:
        t = self.path.clip_exact(t.to(x.dtype))
        flat = x.flatten(1)
        data, source = self._averages(flat, t)
        time = expand_time(t, flat)
        gamma, gamma_dot = self._bridge(time)
        schedule = self.schedule
        residual = flat - schedule.alpha(time) * data - schedule.beta(time) * source
        residual = residual / (gamma.square() + self.bandwidth**2)
        flow = schedule.alpha_dot(time) * data + schedule.beta_dot(time) * source + gamma * gamma_dot * residual
        return FlowAndScore(self.path, x, t, flow.view(x.shape), -residual.view(x.shape))

    def law(self, t: Tensor) -> KernelDensity:
        """The law of x_t at one time."""
        time = t.double()
        means = self.schedule.alpha(time) * self.data + self.schedule.beta(time) * self.source
        return KernelDensity(means, math.hypot(self._bridge(time)[0].item(), self.bandwidth))

    def _averages(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """E[z | x] and E[x_0 | x] at points (B, d) and times () or (B,), by products of matrices alone."""
        time = expand_time(t, x).expand(len(x), 1)
        alpha, beta = self.schedule.alpha(time), self.schedule.beta(time)
        variance = self._bridge(time)[0].square() + self.bandwidth**2
        z, x0 = self.data.to(x), self.source.to(x)
        squares = (z.square().sum(1), (z * x0).sum(1), x0.square().sum(1))
        data, source = [], []
        for rows in torch.arange(len(x)).split(max(1, _AT_ONCE // len(self.data))):
            part, a, b = x[rows], alpha[rows], beta[rows]
            length = a.square() * squares[0] + 2 * a * b * squares[1] + b.square() * squares[2]
            fit = a * (part @ z.mT) + b * (part @ x0.mT) - length / 2
            share = (fit / variance[rows]).softmax(1)
            data.append(share @ z)
            source.append(share @ x0)
        return torch.cat(data), torch.cat(source)

    def _bridge(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """gamma and its derivative; a Gaussian path has none, its noise is the source."""
        path = self.path
        if not isinstance(path, Interpolant) or not path.needs_noise:
            return torch.zeros_like(t), torch.zeros_like(t)
        return path.noise_scale(t), path.noise_scale_dot(t)
