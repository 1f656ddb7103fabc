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
    Mutant(
        "a plain network that forgets the time",
        "networks/plain_mlp.py",
        "t[:, None].to(x.dtype)], 1)",
        "0 * t[:, None].to(x.dtype)], 1)",
        "tests/networks/test_plain_mlps.py",
    ),
    Mutant(
        "a vector condition left out",
        "networks/residual_mlp.py",
        "h = h + self.y_embedder(condition)\n",
        "h = h + 0 * self.y_embedder(condition)\n",
        "tests/networks/test_plain_mlps.py",
    ),
    Mutant(
        "blocks without what they are added to",
        "networks/residual_mlp.py",
        "h = h + block(h)",
        "h = block(h)",
        "tests/networks/test_plain_mlps.py",
    ),
]
