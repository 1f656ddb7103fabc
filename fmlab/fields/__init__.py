"""What a solver follows: a learned field, an exact field in closed form, and guidance round either."""

from fmlab.fields.base import ConditionedField, PathField
from fmlab.fields.exact import ExactField
from fmlab.fields.floor import TERMS, Measure, TrainingDraw, loss_floor, loss_terms
from fmlab.fields.guided import ClassifierFreeGuidance, guided
from fmlab.fields.learned import LearnedField, output_of, run_network
from fmlab.fields.sampling import Sampling, Start, gaussian_start
from fmlab.fields.schedule_change import ScheduleChange

__all__ = [
    "TERMS",
    "ClassifierFreeGuidance",
    "ConditionedField",
    "ExactField",
    "LearnedField",
    "Measure",
    "PathField",
    "Sampling",
    "ScheduleChange",
    "Start",
    "TrainingDraw",
    "gaussian_start",
    "guided",
    "loss_floor",
    "loss_terms",
    "output_of",
    "run_network",
]
