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
    Mutant(
        "a flipped bit unnoticed",
        "records/checkpoint_files.py",
        "            broken = archive.testzip()\n",
        "            broken = None\n",
        "tests/records/test_checkpoint_files.py",
    ),
    Mutant(
        "the oldest checkpoint used",
        "records/checkpoint_files.py",
        "max(whole, key=step_of, default=None)",
        "min(whole, key=step_of, default=None)",
        "tests/records/test_checkpoint_files.py",
    ),
    Mutant(
        "the previous checkpoint not kept",
        "records/checkpoint_files.py",
        "if previous is not None and path.exists():",
        "if previous is None and path.exists():",
        "tests/records/test_checkpoint_files.py",
    ),
    Mutant(
        "a full disk told as a defect",
        "records/atomic.py",
        "error = error.__cause__ or error.__context__",
        "error = None",
        "tests/records/test_checkpoint_files.py -k full",
    ),
    Mutant(
        "short words taken for secrets",
        "records/secrets.py",
        "len(value) >= 8",
        "len(value) >= 1",
        "tests/config/test_trust.py",
    ),
    Mutant(
        "an earlier life of a job taken for a live one",
        "records/status.py",
        "(dead or restarted)",
        "dead",
        "tests/records/test_status.py",
    ),
]
