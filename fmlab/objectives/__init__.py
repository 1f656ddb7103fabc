"""What training draws and measures: times, couplings, weights, losses, the loss by time."""

from fmlab.objectives.couplings import Coupling, Independent
from fmlab.objectives.losses import Loss, PseudoHuber, SquaredError
from fmlab.objectives.time_bins import LossByTime
from fmlab.objectives.time_samplers import (
    LogitNormal,
    LogNormalSigma,
    Moment,
    MovingLogitNormal,
    Stratified,
    TimeSampler,
    Uniform,
    UShaped,
)
from fmlab.objectives.weights import EDMWeight, LikelihoodWeight, MinSNRWeight, Space, UniformWeight, Weight

__all__ = [
    "Coupling",
    "EDMWeight",
    "Independent",
    "LikelihoodWeight",
    "LogNormalSigma",
    "LogitNormal",
    "Loss",
    "LossByTime",
    "MinSNRWeight",
    "Moment",
    "MovingLogitNormal",
    "PseudoHuber",
    "Space",
    "SquaredError",
    "Stratified",
    "TimeSampler",
    "UShaped",
    "Uniform",
    "UniformWeight",
    "Weight",
]
