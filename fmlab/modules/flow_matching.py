"""Conditional flow matching."""

from __future__ import annotations

from torch import Tensor

from fmlab.modules.base import GenerativeModule
from fmlab.paths import Prediction


class FlowMatching(GenerativeModule):
    """Measures the error in the velocity: E |v(x_t, t) - (alpha' z + beta' eps)|^2 (Lipman et al. 2023, theorem 2)."""

    def residual(self, prediction: Prediction, data: Tensor, noise: Tensor) -> Tensor:
        return prediction.velocity - self.path.pair_velocity(data, noise, prediction.t)
