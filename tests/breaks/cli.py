"""Breaks of the room `cli`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "overrides before files",
        "cli/compose.py",
        "resolve=True)",
        "resolve=False)",
        "tests/cli/test_compose.py",
    ),
    Mutant(
        "the network followed where the exact field is asked",
        "cli/sample.py",
        "trained.exact_field if options.exact else trained.field",
        "trained.field",
        "tests/runs/test_exact_runs.py",
    ),
    Mutant(
        "paths that all start at one point",
        "cli/draw_process.py",
        "% len(points)]",
        "% 1]",
        "tests/cli/test_draw.py",
    ),
    Mutant(
        "the run's own arguments over the options",
        "cli/run_sampler.py",
        "{**(own.get(ARGS) or {} if isinstance(own, dict) else {}), **arguments}",
        "{**arguments, **(own.get(ARGS) or {} if isinstance(own, dict) else {})}",
        "tests/runs/test_diagnose_command.py",
    ),
]
