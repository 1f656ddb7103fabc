"""Breaks of the room `cli`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "overrides before files",
        "config/compose.py",
        "resolve=True)",
        "resolve=False)",
        "tests/config/test_compose.py",
    ),
    Mutant(
        "the network followed where the exact field is asked",
        "commands/sample.py",
        "trained.exact_field if options.exact else trained.field",
        "trained.field",
        "tests/runs/test_exact_runs.py",
    ),
    Mutant(
        "paths that all start at one point",
        "commands/draw_process.py",
        "% len(points)]",
        "% 1]",
        "tests/commands/test_draw.py",
    ),
    Mutant(
        "the run's own arguments over the options",
        "commands/run_sampler.py",
        "{**(own.get(ARGS) or {} if isinstance(own, dict) else {}), **arguments}",
        "{**arguments, **(own.get(ARGS) or {} if isinstance(own, dict) else {})}",
        "tests/runs/test_diagnose_command.py",
    ),
]
