"""What a solver follows: a learned field, an exact field in closed form, and guidance round either."""

from fmlab.fields.base import ConditionedField, PathField
from fmlab.fields.classifier_guidance import Classifier, ClassifierConditioned, LearnedClassifier
from fmlab.fields.cost import ZeroField, count_evaluations, max_steps_within
from fmlab.fields.exact import ExactField, PosteriorMean
from fmlab.fields.generate import Generated, Sampling, Start, collect, gaussian_start, generate
from fmlab.fields.guidance import Guidance, GuidedField, guided
from fmlab.fields.learned import LearnedField, output_of, run_network
from fmlab.fields.paired import PairedField
from fmlab.fields.precision import Precision, choose_precision, compute_in, resolve_precision
from fmlab.fields.schedule_change import ScheduleChange

__all__ = [
    "Classifier",
    "ClassifierConditioned",
    "ConditionedField",
    "ExactField",
    "Generated",
    "Guidance",
    "GuidedField",
    "LearnedClassifier",
    "LearnedField",
    "PairedField",
    "PathField",
    "PosteriorMean",
    "Precision",
    "Sampling",
    "ScheduleChange",
    "Start",
    "ZeroField",
    "choose_precision",
    "collect",
    "compute_in",
    "count_evaluations",
    "gaussian_start",
    "generate",
    "guided",
    "max_steps_within",
    "output_of",
    "resolve_precision",
    "run_network",
]
