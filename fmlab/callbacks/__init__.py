"""One service each: averaged weights, sample grids, metrics and the loss floor in validation, checkpoints, progress,
stopping when asked to."""

from fmlab.callbacks.averaged_weights import AveragedWeights
from fmlab.callbacks.checkpoints import Checkpoints
from fmlab.callbacks.initial_weights import InitialWeights
from fmlab.callbacks.loss_floor import LossFloor
from fmlab.callbacks.nonfinite import NonFinite
from fmlab.callbacks.power_averages import PowerAverages
from fmlab.callbacks.preemption import Preemption
from fmlab.callbacks.progress import LineProgress
from fmlab.callbacks.sample_grid import SampleGrid
from fmlab.callbacks.sample_metrics import SampleMetrics
from fmlab.callbacks.step_hooks import NoStepHooks
from fmlab.callbacks.stop_signals import StopRequested, StopSignals
from fmlab.callbacks.throughput import Throughput

__all__ = [
    "AveragedWeights",
    "Checkpoints",
    "InitialWeights",
    "LineProgress",
    "LossFloor",
    "NoStepHooks",
    "NonFinite",
    "PowerAverages",
    "Preemption",
    "SampleGrid",
    "SampleMetrics",
    "StopRequested",
    "StopSignals",
    "Throughput",
]
