"""One service each: averaged weights, sample grids, metrics in validation, checkpoints, throughput, progress."""

from fmlab.callbacks.averaged_weights import AveragedWeights
from fmlab.callbacks.checkpoints import Checkpoints
from fmlab.callbacks.progress import LineProgress
from fmlab.callbacks.sample_grid import SampleGrid
from fmlab.callbacks.sample_metrics import SampleMetrics
from fmlab.callbacks.throughput import Throughput

__all__ = ["AveragedWeights", "Checkpoints", "LineProgress", "SampleGrid", "SampleMetrics", "Throughput"]
