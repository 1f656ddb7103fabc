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
    Mutant(
        "a reconstruction from later snapshots",
        "power_ema.py",
        "snapshots_in(folder).items() if at < step}",
        "snapshots_in(folder).items() if at != step}",
        "tests/callbacks/test_power_averages.py",
    ),
    Mutant(
        "another's code imported unasked",
        "trust.py",
        'if value.partition(".")[0] not in TRUSTED:',
        'if value.partition(".")[0] in TRUSTED:',
        "tests/test_trust.py",
    ),
    Mutant(
        "one restart too many",
        "launch/requeue.py",
        "if done >= most",
        "if done > most",
        "tests/launch",
    ),
]
