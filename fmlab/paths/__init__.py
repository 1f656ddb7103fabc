"""Probability paths from noise (t = 0) to data (t = 1), and what a network's output means on them."""

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
