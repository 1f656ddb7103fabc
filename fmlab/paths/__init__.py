"""Probability paths from noise (t = 0) to data (t = 1), and what a network's output means on them."""

from fmlab.paths.gaussian import GaussianPath, Kind, expand_time
from fmlab.paths.prediction import Prediction
from fmlab.paths.schedules import VP, CondOT, Cosine, Polynomial

__all__ = ["VP", "CondOT", "Cosine", "GaussianPath", "Kind", "Polynomial", "Prediction", "expand_time"]
