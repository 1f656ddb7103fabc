"""A trained field followed along another Gaussian path than the one it was trained on."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from fmlab.fields.base import PathField
from fmlab.paths import FlowAndScore, GaussianPath, Posterior, Prediction, expand_time, gaussian_path

# A mismatch that nobody would see: an eightieth of a grey level of images in [-1, 1].
NEGLIGIBLE = 1e-4


class ScheduleChange(PathField):
    """The field on `path` of a model that was trained on another Gaussian path, at one evaluation each.

    Two Gaussian paths differ in scale and speed alone. Where the new path at (x, r) has the log-SNR that the trained
    one has at t, x / s is distributed as the trained path's x_t, with s = B_r / b_t = A_r / a_t, and the expected data
    and noise are the same (Karras et al. 2022, appendix B; Pokle et al. 2024).

    Where the new path leaves the trained range of log-SNR, the range's nearer end answers: before its start with the
    expected data, after its end with the expected noise, and the other one follows from x = A z + B eps. `mismatch`
    measures how far that is, and a warning says where, when the field is made.

    Args:
        field: What was trained, guided or not.
        path: The path to follow.

    Raises:
        UserError: If the field's own path is not Gaussian.

    Attributes:
        mismatch: By how much the new path exceeds the trained one: at the start in alpha / beta (the trace of data
            that the model expects and does not find), at the end in beta / alpha (the noise that the model does not
            tell from detail). (0, 0) if it stays within.
    """

    def __init__(self, field: PathField, path: GaussianPath) -> None:
        self.trained = gaussian_path(field.path, "a change of schedule")
        path = path if self.trained.knows_score else path.with_dependent_pairs()
        self.field, self.gaussian = field, path
        super().__init__(path)
        self._low, self._high = log_snr_range(self.trained)
        low, high = log_snr_range(path)
        self.mismatch = (
            max(0.0, math.exp(self._low / 2) - math.exp(low / 2)),
            max(0.0, math.exp(-self._high / 2) - math.exp(-high / 2)),
        )
        if max(self.mismatch) > NEGLIGIBLE:
            warnings.warn(self._describe_mismatch(low, high), stacklevel=2)

    @property
    def nfe(self) -> int:
        """Forwards of the wrapped field."""
        return self.field.nfe

    @nfe.setter
    def nfe(self, value: int) -> None:
        self.field.nfe = value

    def __call__(self, x: Tensor, t: Tensor) -> Posterior:
        return self.evaluate(x, t)

    def evaluate(self, x: Tensor, t: Tensor) -> Posterior:
        t = self.gaussian.clip(t, "velocity")
        r = expand_time(t, x)
        log_snr = self.gaussian.log_snr(r)
        time = self.trained.clip(self.trained.log_snr_inverse(log_snr), "velocity")
        # B / b and A / a are alike, but each is 0 / 0 at one end; this is both and 0 / 0 at neither.
        scale = torch.hypot(self.gaussian.alpha(r), self.gaussian.beta(r))
        scale = scale / torch.hypot(self.trained.alpha(time), self.trained.beta(time))
        scale, time = (value.to(torch.promote_types(x.dtype, torch.float32)) for value in (scale, time))
        data, noise, score = self._on_trained_path(x / scale, time.flatten() if time.ndim else time)
        score = None if score is None else score / scale
        return Posterior(self.gaussian, x, t, *self._consistent(x, r, log_snr, data, noise), score)

    def _on_trained_path(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Expected data and noise, and the score where it is known, at a point of the trained path; one evaluation."""
        value = self.field(x, t)
        if isinstance(value, FlowAndScore):  # data and noise both from the flow, so that they belong together
            flow = Prediction(self.trained, value.x, value.t, "velocity", value.velocity)
            return flow.data, flow.noise, flow.score if value.own_score is None else value.own_score
        return value.data, value.noise, value.score if self.trained.knows_score else None

    def _consistent(self, x: Tensor, r: Tensor, log_snr: Tensor, data: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The lesser part of x as the model gives it, and the greater one from x = A z + B eps.

        That changes nothing but where the model answered for a clamped or clipped t; there a solver's steps would
        otherwise move x however short they are.
        """
        alpha, beta = self.gaussian.alpha(r), self.gaussian.beta(r)
        noisy = log_snr < 0
        # The inner `where` keeps a division by 0 at the other end out of the gradient.
        other_noise = (x - alpha * data) / torch.where(noisy, beta, 1.0)
        other_data = (x - beta * noise) / torch.where(noisy, 1.0, alpha)
        return torch.where(noisy, data, other_data), torch.where(noisy, other_noise, noise)

    def _describe_mismatch(self, low: float, high: float) -> str:
        ends = torch.tensor([self._low, self._high], dtype=torch.float64)
        first, last = self.gaussian.log_snr_inverse(ends).tolist()
        beyond = [f"before t = {first:.4g}"] if self.mismatch[0] > NEGLIGIBLE else []
        beyond += [f"after t = {last:.4g}"] if self.mismatch[1] > NEGLIGIBLE else []
        return (
            f"{self.gaussian!r} has log-SNR from {low:.4g} to {high:.4g}, the model was trained on {self.trained!r} "
            f"from {self._low:.4g} to {self._high:.4g}: {' and '.join(beyond)} the nearest trained time answers"
        )


def log_snr_range(path: GaussianPath) -> tuple[float, float]:
    """The log-SNR at the first and the last time at which training asks for a velocity; infinite at alpha or beta 0."""
    ends = torch.tensor([path.t_start, path.t_end], dtype=torch.float64)
    low, high = path.log_snr(path.clip(ends, "velocity")).tolist()
    return low, high
