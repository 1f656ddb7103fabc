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
        "diffusers' labels dropped twice",
        "networks/diffusers_models.py",
        "class_embedder.dropout_prob = 0.0",
        "class_embedder.dropout_prob = 0.1",
        "tests/networks/test_diffusers_models.py",
    ),
    Mutant(
        "diffusers' time runs the other way",
        "networks/diffusers_models.py",
        "LAST_STEP - DIFFUSION_STEPS * t",
        "DIFFUSION_STEPS * t",
        "tests/networks/test_diffusers_models.py",
    ),
]
