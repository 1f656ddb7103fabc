"""The Gaussian probability path x_t = alpha_t z + beta_t eps and its algebra."""

from __future__ import annotations

import copy
from abc import abstractmethod

import torch
from torch import Tensor
from typing_extensions import Self

from fmlab.errors import UserError
from fmlab.paths.base import Output, PathSample, ProbabilityPath, as_precise, expand_time


class GaussianPath(ProbabilityPath):
    """A path p_t(x | z) = N(alpha_t z, beta_t^2 I) from noise at t = 0 to data at t = 1 (MIT 6.S184, section 3).

    A subclass supplies alpha, beta and their exact derivatives, each a function of a tensor of times in [0, 1], and
    the inverse of the log signal-to-noise ratio; and it says where they vanish or are infinite, on the instance where
    that depends on its arguments. Coefficients are computed in the precision of `t`, float32 at least.

    The ends of time, in one place:

    * every solve begins at `t_start` with `initial(noise)` and ends at `t_end`;
    * a quantity is never evaluated where its formula is 0/0: a network that outputs noise or score has no information
      about the data where alpha = 0, one that outputs data has none about the velocity where beta = 0, and beta' may be
      infinite at t = 1. There `t` itself is clipped, by `LOW_MARGIN` from 0 and `HIGH_MARGIN` from 1, for the network
      and for the coefficients alike; values never are;
    * these margins bound what an error of a network is multiplied by, and the square of a training target: a network
      knows nothing beyond them. Where beta' is infinite a solve of its velocity therefore leaves noise of up to 0.6
      beta(1 - HIGH_MARGIN), which is 0.006 on VP, 0.018 on Sqrt and 0.027 on LinearVP; `DDIM` leaves none. A closed
      form has no such error, and is followed to `EXACT_MARGIN` before the end, which leaves a thirtieth of that.
    """

    # A solver step of 1/50 from t = 0 multiplies an error of the predicted noise by 1/50/LOW_MARGIN: about 2.
    LOW_MARGIN: float = 0.01
    HIGH_MARGIN: float = 0.001
    EXACT_MARGIN: float = 1e-6  # in float32, 1 - t is known there to a thirtieth

    # Where the path's own coefficients degenerate; subclasses say so.
    alpha_vanishes_at_start: bool = True
    wronskian_vanishes_at_start: bool = False
    beta_vanishes_at_end: bool = True
    beta_dot_infinite_at_end: bool = False

    # Whether a coupling makes data and noise depend on one another; `with_dependent_pairs` says so.
    _dependent: bool = False

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """The share of data in x_t."""

    @abstractmethod
    def beta(self, t: Tensor) -> Tensor:
        """The share of noise in x_t."""

    @abstractmethod
    def alpha_dot(self, t: Tensor) -> Tensor:
        """d alpha / dt."""

    @abstractmethod
    def beta_dot(self, t: Tensor) -> Tensor:
        """d beta / dt."""

    @abstractmethod
    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        """The time at which log(alpha^2 / beta^2) has the given value.

        A value that the path does not reach gives a time at or beyond the nearer end of [0, 1], never NaN.
        """

    def wronskian(self, t: Tensor) -> Tensor:
        """D = alpha' beta - alpha beta', positive inside (0, 1); every conversion divides by a product of it."""
        return self.alpha_dot(t) * self.beta(t) - self.alpha(t) * self.beta_dot(t)

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / beta^2), strictly increasing; minus or plus infinity where alpha or beta is 0."""
        return 2 * (torch.log(self.alpha(t)) - torch.log(self.beta(t)))

    def initial(self, source: Tensor) -> Tensor:
        """What every solve starts from: beta(t_start) times standard normal noise, of any shape."""
        return self.beta(torch.tensor(self.t_start, dtype=torch.float64)).item() * source

    def draw(self, data: Tensor, source: Tensor, t: Tensor, noise: Tensor | None = None) -> PathSample:
        """`sample` and `pair_velocity` of data and noise (here called the source) at once."""
        time = expand_time(t, data)
        beta = self.beta(time)  # once: on a small batch these few numbers cost as much as the data
        x = self.alpha(time) * data + beta * source
        return PathSample(x, t, self.pair_velocity(data, source, time), source, beta)

    def with_dependent_pairs(self) -> Self:
        """This path for pairs from a coupling such as optimal transport.

        Velocity, expected noise and expected data convert into one another as ever, but -E[eps | x] / beta is the score
        only where noise and data are independent: here asking for the score is refused.
        """
        path = copy.copy(self)
        path._dependent = True
        return path

    @property
    def knows_score(self) -> bool:
        """Whether the score is -E[eps | x] / beta: data and noise are independent."""
        return not self._dependent

    def require_score(self) -> None:
        """Refuses to call -E[eps | x] / beta the score where it is not.

        Raises:
            UserError: If data and noise depend on one another.
        """
        if self._dependent:
            raise UserError(
                "the score is not known: the coupling of data and noise is not independent",
                key="model.coupling",
                hint="follow the ODE (Euler, Heun, ...), or train with coupling: Independent",
            )

    def noise_scale(self, t: Tensor) -> Tensor:
        return self.beta(t)

    def sample(self, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha_t z + beta_t eps for `data` and `noise` of shape (B, *event) and `t` of shape () or (B,)."""
        t = expand_time(t, data)
        return self.alpha(t) * data + self.beta(t) * noise

    def pair_velocity(self, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """dx_t/dt = alpha' z + beta' eps for a pair held fixed: what flow matching regresses on, without division."""
        t = expand_time(t, data)
        return self.alpha_dot(t) * data + self.beta_dot(t) * noise

    def conditional_velocity(self, x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """u_t(x | z) = alpha' z + beta' (x - alpha z) / beta."""
        t = expand_time(self.clip(t, "data"), x)
        return self.alpha_dot(t) * data + self.beta_dot(t) * (x - self.alpha(t) * data) / self.beta(t)

    def conditional_score(self, x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """grad log p_t(x | z) = -(x - alpha z) / beta^2."""
        t = expand_time(self.clip(t, "data"), x)
        return -(x - self.alpha(t) * data) / self.beta(t) ** 2

    def clip(self, t: Tensor, output: Output) -> Tensor:
        """`t` moved to where a network's output determines the velocity: the policy for the ends of time."""
        low = self.t_start + (self.LOW_MARGIN if output in ("noise", "score") and self.alpha_vanishes_at_start else 0.0)
        divides_by_beta = output == "data" and self.beta_vanishes_at_end
        high = self.t_end - (self.HIGH_MARGIN if divides_by_beta or self.beta_dot_infinite_at_end else 0.0)
        return as_precise(t).clamp(low, high)

    def clip_exact(self, t: Tensor) -> Tensor:
        return as_precise(t).clamp(max=self.t_end - (self.EXACT_MARGIN if self.beta_dot_infinite_at_end else 0.0))

    def clip_for(self, t: Tensor, *, alpha: bool = False, beta: bool = False, wronskian: bool = False) -> Tensor:
        """`t` moved away from the ends at which one of the named divisors is 0; used by the conversions."""
        at_start = (alpha and self.alpha_vanishes_at_start) or (wronskian and self.wronskian_vanishes_at_start)
        at_end = (beta and self.beta_vanishes_at_end) or self.beta_dot_infinite_at_end
        low = self.t_start + (self.LOW_MARGIN if at_start else 0.0)
        high = self.t_end - (self.HIGH_MARGIN if at_end else 0.0)
        return as_precise(t).clamp(low, high)


def gaussian_path(path: ProbabilityPath | None, asks: str) -> GaussianPath:
    """The path, if it is Gaussian.

    Raises:
        UserError: If it is not; `asks` says what needs it.
    """
    if not isinstance(path, GaussianPath):
        given = "no path" if path is None else type(path).__name__
        raise UserError(f"{asks} needs a Gaussian path, here is {given}", key="path")
    return path
