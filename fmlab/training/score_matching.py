"""Denoising score matching."""

from __future__ import annotations

from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields import output_of
from fmlab.objectives import Space
from fmlab.paths import GaussianPath, PathPrediction, PathSample, gaussian_path
from fmlab.training.generative_module import GenerativeModule


class ScoreMatching(GenerativeModule):
    """Measures the error in the score, weighted by beta^2: E |eps_hat(x_t, t) - eps|^2 (Vincent 2011; Ho et al. 2020).

    With s = -eps / beta the weighted score error is the noise error, finite at t = 1. The path has to be Gaussian.
    """

    def check_parts(self) -> None:
        if not isinstance(self.path, GaussianPath) or self.prediction == "velocity_and_score":
            cause = f"{type(self.path).__name__} and {self.prediction}: score matching alone teaches no velocity"
            hint = "use FlowMatching with prediction: velocity_and_score"
            raise UserError(cause, key="model", hint=hint)
        super().check_parts()

    def admissible(self, t: Tensor) -> Tensor:
        t = super().admissible(t)
        from_velocity = output_of(self.prediction) == "velocity"
        return gaussian_path(self.path, "ScoreMatching").clip_for(t, wronskian=True) if from_velocity else t

    @property
    def spaces(self) -> tuple[Space, ...]:
        return ("noise",)

    def errors(self, prediction: PathPrediction, point: PathSample) -> dict[Space, Tensor]:
        assert point.noise is not None
        return {"noise": prediction.noise - point.noise}
