"""How far points have to be moved, and how far a flow moves them: the exact 2-Wasserstein distance, and path energy."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.metric import FeatureRows
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Facts
from fmlab.metrics.subset import keyed_rows
from fmlab.objectives.transport import exact_matching


def wasserstein2(x: Tensor, y: Tensor) -> Tensor:
    """Exact 2-Wasserstein distance of two sets of n points (n, D), a float64 scalar.

    It is the root of the mean squared distance under the best one-to-one assignment. The time grows almost as n^3: on
    one core 1,000 points take 0.2 s, 10,000 points about a minute.

    Raises:
        UserError: The sets are of different shape.
    """
    if x.shape != y.shape:
        raise UserError(f"exact transport wants two sets of one size, not {tuple(x.shape)} and {tuple(y.shape)}")
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    # Differences, not |x|^2 + |y|^2 - 2 x.y, which cancels where points nearly coincide.
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    if not bool(cost.isfinite().all()):
        return cost.new_full((), float("nan"))
    return cost.gather(1, exact_matching(cost)[:, None]).mean().sqrt()


class Wasserstein2(FeatureRows):
    """Exact 2-Wasserstein distance of the points it is given from as many reference points.

    Args:
        reference: Reference points (M, D). Where there are more of them than samples, a fixed choice is used.
    """

    facts = Facts(
        name="w2",
        title="the exact 2-Wasserstein distance",
        kind="points",
        inputs=("samples",),
        outputs=("w2",),
        better="less",
        least=2,
        estimator="exact assignment to a fixed choice of as many reference points, v1",
        usual=True,
    )

    @classmethod
    def build(cls, parts: MetricParts) -> Wasserstein2:
        """The distance from the reference's points.

        Raises:
            UserError: There are fewer of those than samples.
        """
        if parts.num_samples > len(parts.points):
            raise UserError(
                f"{parts.num_samples} samples against {len(parts.points)} reference points",
                key="num_samples",
                hint=f"the exact 2-Wasserstein distance needs equal numbers: at most {len(parts.points)}",
            )
        return cls(parts.points)

    def compute(self) -> dict[str, Tensor]:
        """`w2`, a float64 scalar on the CPU.

        Raises:
            UserError: There are fewer than two samples, or more than reference points.
        """
        points = self.gathered()
        if len(points) > len(self.reference):
            raise UserError(
                f"{len(points)} samples cannot be matched with {len(self.reference)} reference points",
                hint=f"ask for at most {len(self.reference)} samples",
            )
        chosen = keyed_rows(len(self.reference), len(points)).to(self.reference.device)
        return {"w2": wasserstein2(points, self.reference[chosen])}


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
