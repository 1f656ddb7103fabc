"""What training draws and measures: times, couplings, weights, losses, the loss by time.

A time sampler, coupling, weight or loss of one's own is one class with one method, derived from the base named here.
"""

from fmlab.objectives.couplings import ConditionalOT, Coupling, Independent, MinibatchOT, SinkhornOT
from fmlab.objectives.loss_by_time import LossByTime, Mean, MeansByTime, time_bin
from fmlab.objectives.losses import Loss, PseudoHuber, SquaredError
from fmlab.objectives.time_samplers import (
    LogitNormal,
    LogNormalSigma,
    MovingLogitNormal,
    StepContext,
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
    "MovingLogitNormal",
    "PseudoHuber",
    "SinkhornOT",
    "Space",
    "SquaredError",
    "StepContext",
    "Stratified",
    "TimeSampler",
    "UShaped",
    "Uniform",
    "UniformWeight",
    "Weight",
    "time_bin",
]
