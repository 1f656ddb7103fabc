"""Breaks of the room `metrics`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "the Fréchet distance's overlap",
        "metrics/frechet.py",
        "sigma2.trace() - 2 * overlap",
        "sigma2.trace() - overlap",
        "tests/metrics/test_frechet.py",
    ),
]
