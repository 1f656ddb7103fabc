"""Denoising score matching."""

from __future__ import annotations

from torch import Tensor

from fmlab.modules.base import GenerativeModule
from fmlab.paths import Prediction


class ScoreMatching(GenerativeModule):
    """Measures the error in the score, weighted by beta^2: E |eps_hat(x_t, t) - eps|^2 (Vincent 2011; Ho et al. 2020).

    With s = -eps / beta the weighted score error is the noise error, finite at t = 1.
    """

    def admissible(self, t: Tensor) -> Tensor:
        t = super().admissible(t)
        return self.path.clip_for(t, wronskian=True) if self.prediction == "velocity" else t

    def residual(self, prediction: Prediction, data: Tensor, noise: Tensor) -> Tensor:
        return prediction.noise - noise
