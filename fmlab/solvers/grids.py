"""Time grids: where along a path a solver steps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import ProbabilityPath, gaussian_path
from fmlab.representation import ShownByAttributes


class Grid(ShownByAttributes, ABC):
    """Chooses `steps + 1` strictly increasing times from the path's start to its end."""

    @abstractmethod
    def interior(self, steps: int, path: ProbabilityPath) -> Tensor:
        """The `steps - 1` times between the path's ends, in float64, increasing."""

    def __call__(self, steps: int, path: ProbabilityPath) -> Tensor:
        """Times of shape (steps + 1,) in float64, from `path.t_start` to `path.t_end` exactly.

        Raises:
            UserError: If there is no step, or if two times would be one number.
        """
        if steps < 1:
            raise UserError(f"a solve takes at least 1 step, got {steps}", key="steps")
        ends = torch.tensor([path.t_start, path.t_end], dtype=torch.float64)
        times = torch.cat([ends[:1], self.interior(steps, path), ends[1:]])
        if not bool((times.diff() > 0).all()):
            raise UserError(
                f"{self!r} puts two of {steps} steps at the same time of {path!r}",
                key="grid",
                hint="take fewer steps, or a grid that crowds less",
            )
        return times


class StretchedGrid(Grid):
    """Equal steps of u from 0 to 1, moved by an increasing function and then stretched from end to end of the path."""

    @abstractmethod
    def share(self, u: Tensor) -> Tensor:
        """The share of the path's time that has passed at each u inside (0, 1), in float64."""

    def interior(self, steps: int, path: ProbabilityPath) -> Tensor:
        u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[1:-1]
        return path.t_start + (path.t_end - path.t_start) * self.share(u)


class UniformGrid(StretchedGrid):
    """Steps of equal length in t."""

    def share(self, u: Tensor) -> Tensor:
        return u


class CosineGrid(StretchedGrid):
    """t = sin^2(pi u / 2): crowds at both ends, where steps shrink with the square of their number."""

    def share(self, u: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * u) ** 2


class LogitGrid(StretchedGrid):
    """Equal steps of logit t = log(t / (1 - t)): crowds at both ends, alike on every path.

    The logits are (2u - 1) `extent`, and the first and last are replaced by the path's ends: the first and the last
    step never get shorter than 1 / (1 + exp(extent)).

    Args:
        extent: The logits run from minus this to this; positive and at most 30.
    """

    def __init__(self, extent: float = 6.0) -> None:
        if not 0 < extent <= 30:
            raise UserError(f"LogitGrid needs 0 < extent <= 30, got {extent}", key="extent")
        self.extent = extent

    def share(self, u: Tensor) -> Tensor:
        return torch.sigmoid(self.extent * (2 * u - 1))


class ShiftedGrid(StretchedGrid):
    """t = u / (1 + (shift - 1) (1 - u)): more steps near the noise, for larger images (Esser et al. 2024, equation 23).

    The paper's shift is sqrt(m / n) for m pixels where n were usual, and its time runs the other way.

    Args:
        shift: Above 1 the steps crowd near the noise, below 1 near the data; 1 is uniform. SD3 takes 3 at 1024 x 1024.
    """

    def __init__(self, shift: float = 3.0) -> None:
        if not 0 < shift < math.inf:
            raise UserError(f"a shift is positive, got {shift}", key="shift")
        self.shift = shift

    def share(self, u: Tensor) -> Tensor:
        return u / (1 + (self.shift - 1) * (1 - u))


class ListGrid(Grid):
    """Times of one's own choice.

    Args:
        times: Increasing times between the path's ends; the ends themselves may be given or left out.
    """

    def __init__(self, times: list[float]) -> None:
        self.times = [float(time) for time in times]
        if any(not early < late for early, late in zip(self.times, self.times[1:])):
            raise UserError(f"the times of a grid increase, got {self.times}", key="times")

    def interior(self, steps: int, path: ProbabilityPath) -> Tensor:
        inside = [time for time in self.times if time not in (path.t_start, path.t_end)]
        if any(not path.t_start < time < path.t_end for time in inside):
            raise UserError(
                f"{path!r} runs from {path.t_start} to {path.t_end}, the list from {self.times[0]} to {self.times[-1]}",
                key="times",
            )
        if steps != len(inside) + 1:
            raise UserError(
                f"{len(inside)} times between the ends make {len(inside) + 1} steps, not {steps}",
                key="steps",
                hint=f"use {len(inside) + 1} steps",
            )
        return torch.tensor(inside, dtype=torch.float64)


class RatioGrid(Grid):
    """Steps spaced by the noise-to-data ratio sigma = beta / alpha of a Gaussian path; `RhoGrid` tells of the ends.

    Args:
        sigma_min: The last ratio before the end.
        sigma_max: The first ratio.
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        if not 0 < sigma_min < sigma_max < math.inf:
            raise UserError(
                f"{type(self).__name__} needs 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}",
                key="sigma_min",
            )
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    @abstractmethod
    def ratios(self, first: float, last: float, ramp: Tensor) -> Tensor:
        """The ratios at a ramp from 0, for `first`, to 1, for `last`, in float64."""

    def interior(self, steps: int, path: ProbabilityPath) -> Tensor:
        gaussian = gaussian_path(path, type(self).__name__)
        ends = torch.tensor([path.t_start, path.t_end], dtype=torch.float64)
        start, end = torch.exp(-gaussian.log_snr(ends) / 2).tolist()
        first, last = min(self.sigma_max, start), max(self.sigma_min, end)
        if not last < first:
            raise UserError(
                f"{path!r} has ratios from {start:.4g} to {end:.4g} only, {self!r} asks for none of them", key="grid"
            )
        # A last ratio at the path's own end, give or take its rounding, is that end and no time before it.
        spaces = steps if self.sigma_min <= end * (1 + 1e-9) else steps - 1
        ramp = torch.arange(1, steps, dtype=torch.float64) / spaces
        return gaussian.log_snr_inverse(-2 * torch.log(self.ratios(first, last, ramp)))


class RhoGrid(RatioGrid):
    """Noise-to-data ratios sigma = beta / alpha equally spaced in sigma^(1/rho) (Karras et al. 2022, equation 5).

    N steps visit the N ratios from `sigma_max` to `sigma_min` and then the end, as EDM does; but the first time is
    the path's own start, where `path.initial` holds exactly, in place of the time at `sigma_max`. Where the path
    starts below `sigma_max` its own first ratio takes that place, and where it ends above `sigma_min` the N + 1
    ratios run down to its last one.

    Args:
        rho: How much the steps crowd towards the data; 7 is EDM's choice, 1 is uniform in sigma.
        sigma_min: The last ratio before the end.
        sigma_max: The first ratio.
    """

    def __init__(self, rho: float = 7.0, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        if not rho > 0:
            raise UserError(f"RhoGrid needs rho > 0, got {rho}", key="rho")
        self.rho = rho
        super().__init__(sigma_min, sigma_max)

    def ratios(self, first: float, last: float, ramp: Tensor) -> Tensor:
        high, low = first ** (1 / self.rho), last ** (1 / self.rho)
        return (high + ramp * (low - high)) ** self.rho


class LogSNRGrid(RatioGrid):
    """Equal steps of the log signal-to-noise ratio between two noise-to-data ratios (Lu et al. 2022, DPM-Solver).

    Its ends are those of `RhoGrid`.

    Args:
        sigma_min: The last ratio before the end.
        sigma_max: The first ratio.
    """

    def ratios(self, first: float, last: float, ramp: Tensor) -> Tensor:
        return first * (last / first) ** ramp
