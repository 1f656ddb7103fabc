"""Measuring a finished run so that the number can be trusted: grids of settings, one pass a cell, records, tables."""

from fmlab.evaluation.cells import Cell, Draws, cells, draws
from fmlab.evaluation.evaluation import Evaluation, Listener
from fmlab.evaluation.image_scores import ImageScores
from fmlab.evaluation.journal import Journal
from fmlab.evaluation.point_scores import PointScores
from fmlab.evaluation.processes import Processes, joined
from fmlab.evaluation.provenance import data_reference, measurement, setting
from fmlab.evaluation.scores import Scores
from fmlab.evaluation.table import markdown, ranked
from fmlab.evaluation.wanted import METRICS, USUAL
from fmlab.records.evaluations import Row
from fmlab.records.measured import Comparison, comparable

__all__ = [
    "METRICS",
    "USUAL",
    "Cell",
    "Comparison",
    "Draws",
    "Evaluation",
    "ImageScores",
    "Journal",
    "Listener",
    "PointScores",
    "Processes",
    "Row",
    "Scores",
    "cells",
    "comparable",
    "data_reference",
    "draws",
    "joined",
    "markdown",
    "measurement",
    "ranked",
    "setting",
]
