"""LightningModules, and the callbacks round them: averages, sample grids, metrics, checkpoints, the exact stop."""

from fmlab.training.averaged_weights import AveragedWeights
from fmlab.training.batches import Batch, unpack
from fmlab.training.checkpoints import Checkpoints
from fmlab.training.classifier import NoisyClassifier
from fmlab.training.consensus import StopRequested, StopSignals
from fmlab.training.exact_law import exact_law, nearest_law
from fmlab.training.flow_matching import FlowMatching
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.interruption import Preemption
from fmlab.training.loss_floor import ExcessLoss, LossFloor, RepeatableDraws
from fmlab.training.module import NetworkModule
from fmlab.training.nonfinite import NonFinite
from fmlab.training.optimisation import WarmupConstant, WarmupCosine
from fmlab.training.power_averages import PowerAverages
from fmlab.training.progress import LineProgress, Throughput
from fmlab.training.sample_grid import SampleGrid
from fmlab.training.sample_metrics import SampleMetrics
from fmlab.training.score_matching import ScoreMatching

__all__ = [
    "AveragedWeights",
    "Batch",
    "Checkpoints",
    "ExcessLoss",
    "FlowMatching",
    "GenerativeModule",
    "LineProgress",
    "LossFloor",
    "NetworkModule",
    "NoisyClassifier",
    "NonFinite",
    "PowerAverages",
    "Preemption",
    "RepeatableDraws",
    "SampleGrid",
    "SampleMetrics",
    "ScoreMatching",
    "StopRequested",
    "StopSignals",
    "Throughput",
    "WarmupConstant",
    "WarmupCosine",
    "exact_law",
    "nearest_law",
    "unpack",
]
