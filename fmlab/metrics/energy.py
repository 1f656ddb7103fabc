"""How much a flow moves its points, and how much more than it has to."""

from __future__ import annotations

import torch
from torch import Tensor


def path_energy(states: Tensor, times: Tensor) -> Tensor:
    """E of the integral over t of |dx/dt|^2 along polygons through the states, a float64 scalar.

    Along a trajectory of `Euler` it is the sum of (t' - t) |v(x_t, t)|^2 over its own steps.

    Args:
        states: States (steps + 1, n, *event), as `solve(..., trajectory=True)` returns them.
        times: Their times (steps + 1,).
    """
    states, times = states.detach().double(), times.to(states.device, torch.float64)
    moved = states.diff(dim=0).flatten(2).square().sum(2).mean(1)
    return (moved / times.diff()).sum()


def normalised_path_energy(states: Tensor, times: Tensor, squared_distance: float | Tensor) -> Tensor:
    """|E - W| / W for the path energy E and the least one W, the squared 2-Wasserstein distance of the two ends' laws.

    It is 0 for the dynamic optimal transport between them (Tong et al. 2024).

    Args:
        states: As in `path_energy`.
        times: Their times.
        squared_distance: W, positive.
    """
    return (path_energy(states, times) - squared_distance).abs() / squared_distance
