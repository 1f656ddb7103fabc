"""What training draws and measures: times, couplings, the loss by time."""

from fmlab.objectives.couplings import Coupling, Independent
from fmlab.objectives.time_bins import LossByTime
from fmlab.objectives.time_samplers import LogitNormal, TimeSampler, Uniform

__all__ = ["Coupling", "Independent", "LogitNormal", "LossByTime", "TimeSampler", "Uniform"]
