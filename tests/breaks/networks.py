"""Breaks of the room `networks`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "the output not zero at the start",
        "networks/dit.py",
        "nn.init.zeros_(self.final_layer.linear.weight)",
        "pass",
        "tests/networks/test_networks.py tests/networks/test_dit.py",
    ),
]
