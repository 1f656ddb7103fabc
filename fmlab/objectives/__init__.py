"""What training draws and measures: times, couplings, weights, losses, the loss by time."""

from fmlab.objectives.couplings import ConditionalOT, Coupling, Independent, MinibatchOT, SinkhornOT
from fmlab.objectives.losses import Loss, PseudoHuber, SquaredError
from fmlab.objectives.time_bins import LossByTime, Mean, MeansByTime, time_bin
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
    "ConditionalOT",
    "Coupling",
    "EDMWeight",
    "Independent",
    "LikelihoodWeight",
    "LogNormalSigma",
    "LogitNormal",
    "Loss",
    "LossByTime",
    "Mean",
    "MeansByTime",
    "MinSNRWeight",
    "MinibatchOT",
    "Moment",
    "MovingLogitNormal",
    "PseudoHuber",
    "SinkhornOT",
    "Space",
    "SquaredError",
    "Stratified",
    "TimeSampler",
    "UShaped",
    "Uniform",
    "UniformWeight",
    "Weight",
    "time_bin",
]
