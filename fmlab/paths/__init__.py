"""Probability paths from noise (t = 0) to data (t = 1), and what a network's output means on them.

A path of one's own derives from `GaussianPath`, to which it gives alpha, beta, their derivatives and the inverse of the
log-SNR, or from `ProbabilityPath`. Which type to return:

| type | holds | returned by |
| --- | --- | --- |
| `PathSample` | x_t of a known pair, its velocity and its noise: a training target | `path.draw` |
| `PathPrediction` | base of the next three: `.velocity .score .noise .data` at (x, t) | every field |
| `Prediction` | one quantity on a Gaussian path; the others are converted from it | a network with one output |
| `Posterior` | expected data and noise on a Gaussian path: divides by nothing | closed forms, `ScheduleChange` |
| `FlowAndScore` | a velocity, and a score if there is one, on a path without conversions | bridges, other sources |

A solver asks for less: anything with a `velocity` (`fmlab.solvers.FieldValue`).
"""

from fmlab.paths.base import Kind, Output, PathSample, ProbabilityPath, expand_time
from fmlab.paths.gaussian import GaussianPath, gaussian_path
from fmlab.paths.interpolant import Interpolant, SchrodingerBridge, SmoothedInterpolant
from fmlab.paths.preconditioning import EDMPreconditioning
from fmlab.paths.prediction import FlowAndScore, PathPrediction, Posterior, Prediction
from fmlab.paths.schedules import CondOT, Cosine, Polynomial, Sqrt
from fmlab.paths.variance_exploding import EDM, VE
from fmlab.paths.variance_preserving import VP, LinearVP, SubVP

__all__ = [
    "EDM",
    "VE",
    "VP",
    "CondOT",
    "Cosine",
    "EDMPreconditioning",
    "FlowAndScore",
    "GaussianPath",
    "Interpolant",
    "Kind",
    "LinearVP",
    "Output",
    "PathPrediction",
    "PathSample",
    "Polynomial",
    "Posterior",
    "Prediction",
    "ProbabilityPath",
    "SchrodingerBridge",
    "SmoothedInterpolant",
    "Sqrt",
    "SubVP",
    "expand_time",
    "gaussian_path",
]
