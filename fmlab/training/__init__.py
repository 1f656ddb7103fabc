"""LightningModules, and the callbacks round them: averages, sample grids, metrics, checkpoints,
progress, the exact stop."""

from fmlab.training.averaged_weights import AveragedWeights
from fmlab.training.batches import Batch, unpack
from fmlab.training.checkpoints import Checkpoints
from fmlab.training.exact_law import RepeatableDraws, closest_law, exact_law
from fmlab.training.excess import ExcessLoss
from fmlab.training.flow_matching import FlowMatching
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.initial_weights import InitialWeights
from fmlab.training.loss_floor import LossFloor
from fmlab.training.network_module import NetworkModule
from fmlab.training.noisy_classifier import NoisyClassifier
from fmlab.training.nonfinite import NonFinite
from fmlab.training.optimization import WarmupConstant, WarmupCosine
from fmlab.training.power_averages import PowerAverages
from fmlab.training.preemption import Preemption
from fmlab.training.progress import LineProgress
from fmlab.training.sample_grid import SampleGrid
from fmlab.training.sample_metrics import SampleMetrics
from fmlab.training.score_matching import ScoreMatching
from fmlab.training.step_hooks import NoStepHooks
from fmlab.training.stop_signals import StopRequested, StopSignals
from fmlab.training.throughput import Throughput

__all__ = [
    "AveragedWeights",
    "Batch",
    "Checkpoints",
    "ExcessLoss",
    "FlowMatching",
    "GenerativeModule",
    "InitialWeights",
    "LineProgress",
    "LossFloor",
    "NetworkModule",
    "NoStepHooks",
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
    "closest_law",
    "exact_law",
    "unpack",
]
