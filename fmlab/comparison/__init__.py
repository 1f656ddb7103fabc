"""Runs compared by their records alone: groups by configuration, seeds paired, a table, a page. Imports no torch."""

from fmlab.comparison.frame import table
from fmlab.comparison.groups import Comparison, Group, compare, grouped
from fmlab.comparison.runs import Run, find_runs, read_run
from fmlab.comparison.statistics import holm, rank

__all__ = ["Comparison", "Group", "Run", "compare", "find_runs", "grouped", "holm", "rank", "read_run", "table"]
