"""Breaks of files of the package itself."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "the wrong weights loaded",
        "loading.py",
        'if weights == "averaged" and averages:',
        'if weights == "raw" and averages:',
        "tests/runs/test_run_record.py -k load",
    ),
]
