"""Breaks of files of the package itself."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "the wrong weights loaded",
        "inference/load.py",
        'if weights == "averaged" and averages:',
        'if weights == "raw" and averages:',
        "tests/runs/test_run_record.py -k load",
    ),
    Mutant(
        "a reconstruction from later snapshots",
        "training/power_ema.py",
        "snapshots_in(folder).items() if at < step}",
        "snapshots_in(folder).items() if at != step}",
        "tests/training/test_power_averages.py",
    ),
    Mutant(
        "another's code imported unasked",
        "config/trust.py",
        'if value.partition(".")[0] not in TRUSTED:',
        'if value.partition(".")[0] in TRUSTED:',
        "tests/config/test_trust.py",
    ),
    Mutant(
        "one restart too many",
        "launch/slurm/requeue.py",
        "if done >= most",
        "if done > most",
        "tests/launch",
    ),
]
