"""What a solver follows: a learned field, an exact field in closed form, and guidance round either."""

from fmlab.fields.base import ConditionedField, PathField
from fmlab.fields.exact import ExactField
from fmlab.fields.floor import TERMS, Measure, TrainingDraw, loss_floor, loss_terms
from fmlab.fields.generate import Generated, Sampling, Start, collect, gaussian_start, generate
from fmlab.fields.guidance import Guidance
from fmlab.fields.guidance_classifier import Classifier, ClassifierConditioned, LearnedClassifier
from fmlab.fields.guided import GuidedField, guided
from fmlab.fields.learned import LearnedField, output_of, run_network
from fmlab.fields.paired import PairedField
from fmlab.fields.precision import Precision, choose_precision, compute_in, resolve_precision
from fmlab.fields.schedule_change import ScheduleChange
from fmlab.fields.still import StillField

__all__ = [
    "TERMS",
    "Classifier",
    "ClassifierConditioned",
    "ConditionedField",
    "ExactField",
    "Generated",
    "Guidance",
    "GuidedField",
    "LearnedClassifier",
    "LearnedField",
    "Measure",
    "PairedField",
    "PathField",
    "Precision",
    "Sampling",
    "ScheduleChange",
    "Start",
    "StillField",
    "TrainingDraw",
    "choose_precision",
    "collect",
    "compute_in",
    "gaussian_start",
    "generate",
    "guided",
    "loss_floor",
    "loss_terms",
    "output_of",
    "resolve_precision",
    "run_network",
]
