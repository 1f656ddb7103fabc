"""Breaks of the room `records`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "rows of metrics twice after a resume",
        "records/csv_metrics.py",
        "_rewrite(path, columns, rows[:count])",
        "_rewrite(path, columns, rows)",
        "tests/records",
    ),
]
