"""Measuring a finished run so that the number can be trusted: grids of settings, one pass a cell, records, tables."""

from fmlab.evaluation.cells import Cell, Draws, cells, draws
from fmlab.evaluation.evaluation import Evaluation, Listener
from fmlab.evaluation.journal import Journal, Row
from fmlab.evaluation.processes import Processes, joined
from fmlab.evaluation.provenance import Comparison, comparable, measurement, setting
from fmlab.evaluation.scores import METRICS, USUAL, ImageScores, PointScores, Scores
from fmlab.evaluation.table import markdown, ranked

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
    "draws",
    "joined",
    "markdown",
    "measurement",
    "ranked",
    "setting",
]
