"""LightningModules: flow and score matching, with classifier-free-guidance training; a classifier of noisy points."""

from fmlab.modules.base import GenerativeModule
from fmlab.modules.batches import Batch, unpack
from fmlab.modules.exact_law import RepeatableDraws, closest_law, exact_law
from fmlab.modules.excess import ExcessLoss
from fmlab.modules.flow_matching import FlowMatching
from fmlab.modules.network_module import NetworkModule
from fmlab.modules.noisy_classifier import NoisyClassifier
from fmlab.modules.optimization import WarmupConstant, WarmupCosine
from fmlab.modules.score_matching import ScoreMatching

__all__ = [
    "Batch",
    "ExcessLoss",
    "FlowMatching",
    "GenerativeModule",
    "NetworkModule",
    "NoisyClassifier",
    "RepeatableDraws",
    "ScoreMatching",
    "WarmupConstant",
    "WarmupCosine",
    "closest_law",
    "exact_law",
    "unpack",
]
