"""Breaks of the room `records`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "rows of metrics twice after a resume",
        "records/csv_metrics.py",
        "if int(row[STEP]) <= step]",
        "if int(row[STEP]) >= 0]",
        "tests/records",
    ),
]
