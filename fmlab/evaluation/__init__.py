"""Measuring a finished run so that the number can be trusted: grids of settings, one pass a cell, records, tables.

`evaluate(trained, Request(cells=make_cells(...), metrics=["fid"]))` is `fmlab evaluate`; `Evaluation` measures alone.
"""

from fmlab.evaluation.cells import Cell, Draws, choose_draws, make_cells
from fmlab.evaluation.distributed import ProcessGroup, join_processes
from fmlab.evaluation.evaluation import Evaluation, Listener, Request
from fmlab.evaluation.journal import Journal
from fmlab.evaluation.results import evaluate
from fmlab.evaluation.table import markdown, ranked
from fmlab.records.measurements import Comparability, Row, comparable

__all__ = [
    "Cell",
    "Comparability",
    "Draws",
    "Evaluation",
    "Journal",
    "Listener",
    "ProcessGroup",
    "Request",
    "Row",
    "choose_draws",
    "comparable",
    "evaluate",
    "join_processes",
    "make_cells",
    "markdown",
    "ranked",
]
