"""Probability paths from noise (t = 0) to data (t = 1), and what a network's output means on them."""

from fmlab.paths.base import Kind, Output, PathSample, ProbabilityPath, expand_time
from fmlab.paths.gaussian import GaussianPath, gaussian_path
from fmlab.paths.interpolant import Interpolant, SchrodingerBridge
from fmlab.paths.preconditioning import EDMPreconditioning
from fmlab.paths.prediction import FlowAndScore, PathPrediction, Posterior, Prediction
from fmlab.paths.schedules import VP, CondOT, Cosine, Polynomial

__all__ = [
    "VP",
    "CondOT",
    "Cosine",
    "EDMPreconditioning",
    "FlowAndScore",
    "GaussianPath",
    "Interpolant",
    "Kind",
    "Output",
    "PathPrediction",
    "PathSample",
    "Polynomial",
    "Posterior",
    "Prediction",
    "ProbabilityPath",
    "SchrodingerBridge",
    "expand_time",
    "gaussian_path",
]
