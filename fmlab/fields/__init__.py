"""What a solver follows: a learned field, an exact field in closed form, and guidance round either."""

from fmlab.fields.base import PathField
from fmlab.fields.exact import ExactField
from fmlab.fields.guided import ClassifierFreeGuidance, guided
from fmlab.fields.learned import LearnedField, output_of, run_network
from fmlab.fields.processes import (
    BrownianMotion,
    Drift,
    Langevin,
    LinearODE,
    OrnsteinUhlenbeck,
    Process,
    TransitionLaw,
)
from fmlab.fields.sampling import Sampling, Start, gaussian_start

__all__ = [
    "BrownianMotion",
    "ClassifierFreeGuidance",
    "Drift",
    "ExactField",
    "Langevin",
    "LearnedField",
    "LinearODE",
    "OrnsteinUhlenbeck",
    "PathField",
    "Process",
    "Sampling",
    "Start",
    "TransitionLaw",
    "gaussian_start",
    "guided",
    "output_of",
    "run_network",
]
