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
    Mutant(
        "the row of a neighbour within its block",
        "metrics/neighbours.py",
        "torch.where(nearer, first + index, row)",
        "torch.where(nearer, index, row)",
        "tests/metrics/test_neighbours.py",
    ),
    Mutant(
        "the memorisation ratio upside down",
        "metrics/neighbours.py",
        "_median(samples) / middle if middle",
        "middle / _median(samples) if middle",
        "tests/metrics/test_neighbours.py",
    ),
    Mutant(
        "copies below the tenth percentile",
        "metrics/neighbours.py",
        "held_out.quantile(0.01)",
        "held_out.quantile(0.1)",
        "tests/metrics/test_neighbours.py",
    ),
    Mutant(
        "a bootstrap of the samples alone, for neighbours",
        "metrics/neighbours.py",
        "_ratio_and_share(again(samples), again(held_out))",
        "_ratio_and_share(again(samples), held_out)",
        "tests/metrics/test_neighbours.py",
    ),
]
