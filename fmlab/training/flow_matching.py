"""Conditional flow matching."""

from __future__ import annotations

from torch import Tensor

from fmlab.objectives import Space
from fmlab.paths import PathPrediction, PathSample
from fmlab.training.generative_module import GenerativeModule


class FlowMatching(GenerativeModule):
    """Measures the error in the velocity: E |v(x_t, t) - dx_t/dt|^2 (Lipman et al. 2023, theorem 2).

    A network with two heads learns the score beside it, by the noise error E |noise_scale s(x_t, t) + eps|^2: the
    sum of both is the loss of [SF]2M (Tong et al. 2024, equation 10) with the score's weight that makes it finite.
    """

    @property
    def spaces(self) -> tuple[Space, ...]:
        return ("velocity", "noise") if self.prediction == "velocity_and_score" else ("velocity",)

    def errors(self, prediction: PathPrediction, point: PathSample) -> dict[Space, Tensor]:
        errors: dict[Space, Tensor] = {"velocity": prediction.velocity - point.velocity}
        if self.prediction == "velocity_and_score":
            assert point.noise is not None
            errors["noise"] = prediction.noise - point.noise
        return errors
