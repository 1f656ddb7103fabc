"""Runs compared by their records alone: groups by configuration, seeds paired, a table, a page. Imports no torch."""

from fmlab.comparison.frame import table
from fmlab.comparison.groups import Comparison, SeedGroup, compare, group_runs
from fmlab.comparison.runs import Run, find_runs, read_run
from fmlab.comparison.statistics import holm, rank

__all__ = ["Comparison", "Run", "SeedGroup", "compare", "find_runs", "group_runs", "holm", "rank", "read_run", "table"]
