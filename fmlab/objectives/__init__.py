"""What training draws and measures: times, couplings, weights, losses, the loss by time."""

from fmlab.objectives.couplings import ConditionalOT, Coupling, Independent, MinibatchOT, SinkhornOT
from fmlab.objectives.losses import Loss, SquaredError
from fmlab.objectives.time_bins import LossByTime, Mean, MeansByTime, time_bin
from fmlab.objectives.time_samplers import LogitNormal, Moment, TimeSampler, Uniform
from fmlab.objectives.weights import Space, UniformWeight, Weight

__all__ = [
    "ConditionalOT",
    "Coupling",
    "Independent",
    "LogitNormal",
    "Loss",
    "LossByTime",
    "Mean",
    "MeansByTime",
    "MinibatchOT",
    "Moment",
    "SinkhornOT",
    "Space",
    "SquaredError",
    "TimeSampler",
    "Uniform",
    "UniformWeight",
    "Weight",
    "time_bin",
]
