"""Time grids: where along a path a solver steps."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import ProbabilityPath, gaussian_path


class Grid(ABC):
    """Chooses `steps + 1` strictly increasing times from the path's start to its end."""

    @abstractmethod
    def interior(self, steps: int, path: ProbabilityPath) -> Tensor:
        """The `steps - 1` times between the path's ends, in float64, increasing."""

    def __call__(self, steps: int, path: ProbabilityPath) -> Tensor:
        """Times of shape (steps + 1,) in float64, from `path.t_start` to `path.t_end` exactly."""
        if steps < 1:
            raise UserError(f"a solve takes at least 1 step, got {steps}", key="steps")
        ends = torch.tensor([path.t_start, path.t_end], dtype=torch.float64)
        return torch.cat([ends[:1], self.interior(steps, path), ends[1:]])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class UniformGrid(Grid):
    """Steps of equal length in t."""

    def interior(self, steps: int, path: ProbabilityPath) -> Tensor:
        return torch.linspace(path.t_start, path.t_end, steps + 1, dtype=torch.float64)[1:-1]


class RhoGrid(Grid):
    """Noise-to-data ratios sigma = beta / alpha equally spaced in sigma^(1/rho) (Karras et al. 2022, equation 5).

    N steps visit the N ratios from `sigma_max` to `sigma_min` and then the end, as EDM does; but the first time is
    the path's own start, where `path.initial` holds exactly, in place of the time at `sigma_max`.

    Args:
        rho: How much the steps crowd towards the data; 7 is EDM's choice, 1 is uniform in sigma.
        sigma_min: The last ratio before the end.
        sigma_max: The first ratio.
    """

    def __init__(self, rho: float = 7.0, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        if not (rho > 0 and 0 < sigma_min < sigma_max):
            raise UserError(
                f"RhoGrid needs rho > 0 and 0 < sigma_min < sigma_max, got {rho}, {sigma_min}, {sigma_max}", key="rho"
            )
        self.rho, self.sigma_min, self.sigma_max = rho, sigma_min, sigma_max

    def interior(self, steps: int, path: ProbabilityPath) -> Tensor:
        ramp = torch.linspace(0, 1, max(steps, 2), dtype=torch.float64)[1:steps]
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        sigma = (high + ramp * (low - high)) ** self.rho
        return gaussian_path(path, "RhoGrid").log_snr_inverse(-2 * torch.log(sigma))
