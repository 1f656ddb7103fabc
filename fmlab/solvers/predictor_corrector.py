"""Predictor-corrector sampling: a solver's step, then Langevin steps that stay at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from fmlab.errors import UserError
from fmlab.paths import gaussian_path
from fmlab.solvers.base import Field, Solver, Step
from fmlab.solvers.log_snr import level
from fmlab.solvers.sde import EulerMaruyama


class PredictorCorrector(Solver):
    """A step of another solver, corrected by Langevin steps towards the law at its end (Song et al. 2021, algorithm 1).

    A Langevin step x + delta score + sqrt(2 delta) eps leaves p_t as it is, to first order in delta, whatever the
    predictor's error. Its length is set by the ratio `snr` of what the score moves to what the noise does:
    delta = 2 (snr beta_t)^2. (Song et al. have |eps| / |score|, averaged over the batch, for beta; on images the two
    are nearly alike, and with beta a sample does not depend on the others.) The last step is the predictor's alone.

    N steps cost the predictor's evaluations and (N - 1) `corrections`. It needs a Gaussian path.

    Args:
        predictor: The solver that goes from time to time; EulerMaruyama if left out.
        snr: The signal-to-noise ratio of a Langevin step, not negative; 0.16 is the paper's for CIFAR-10.
        corrections: Langevin steps after each of the predictor's.
    """

    order = 0.5
    stochastic = True

    def __init__(self, predictor: Solver | None = None, snr: float = 0.16, corrections: int = 1) -> None:
        if snr < 0:
            raise UserError(f"a signal-to-noise ratio is not negative, got {snr}", key="snr")
        if corrections < 0:
            raise UserError(f"a number of steps is not negative, got {corrections}", key="corrections")
        self.predictor, self.snr, self.corrections = predictor or EulerMaruyama(), snr, corrections

    def init(self, field: Field, x: Tensor, times: Tensor) -> Any:
        """The predictor's state."""
        return self.predictor.init(field, x, times)

    def step(self, field: Field, x: Tensor, step: Step, state: Any) -> tuple[Tensor, Any]:
        path = gaussian_path(field.path, "PredictorCorrector")
        # All of a step's noise in one draw: two draws of one step would be the same numbers.
        corrections = 0 if step.last else self.corrections
        first, *others = step.noise(x.new_empty(len(x), 1 + corrections, *x.shape[1:])).unbind(1)
        x, state = self.predictor.step(field, x, replace(step, noise=lambda like: first), state)
        delta = 2 * (self.snr * level(path, step.t_next).beta) ** 2
        for fresh in others:
            score: Tensor = getattr(field(x, step.t_next), "score")  # noqa: B009 - the Field protocol promises a velocity
            x = x + delta * score + (2 * delta) ** 0.5 * fresh
        return x, state
