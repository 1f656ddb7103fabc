"""LightningModules, and the callbacks round them: averages, sample grids, metrics, checkpoints, the exact stop."""

from fmlab.training.averaged_weights import AveragedWeights
from fmlab.training.checkpoints import Checkpoints
from fmlab.training.classifier import NoisyClassifier
from fmlab.training.exact_law import exact_law
from fmlab.training.generative_module import FlowMatching, GenerativeModule, ScoreMatching
from fmlab.training.loss_floor import LossFloor
from fmlab.training.nonfinite import NonFinite
from fmlab.training.optimisation import WarmupConstant, WarmupCosine
from fmlab.training.power_averages import PowerAverages
from fmlab.training.progress import Throughput
from fmlab.training.sample_grid import SampleGrid
from fmlab.training.sample_metrics import SampleMetrics

__all__ = [
    "AveragedWeights",
    "Checkpoints",
    "FlowMatching",
    "GenerativeModule",
    "LossFloor",
    "NoisyClassifier",
    "NonFinite",
    "PowerAverages",
    "SampleGrid",
    "SampleMetrics",
    "ScoreMatching",
    "Throughput",
    "WarmupConstant",
    "WarmupCosine",
    "exact_law",
]
