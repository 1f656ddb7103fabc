"""Breaks of the room `callbacks`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "the averaging weight",
        "callbacks/averaged_weights.py",
        "1 - self.decay_at(decay, self.step)",
        "self.decay_at(decay, self.step)",
        "tests/callbacks",
    ),
    Mutant(
        "the recorded path",
        "evaluation/provenance.py",
        "repr(sampling.path or path)",
        "repr(path)",
        "tests/runs/test_sampling_paths.py",
    ),
    Mutant(
        "a bridge's run sampled along VP",
        "callbacks/generation.py",
        "    if sampling.path is not None:\n",
        "    if False:\n",
        "tests/runs/test_sampling_paths.py",
    ),
    Mutant(
        "every process measures the same draws",
        "modules/excess.py",
        "range(rank, len(self.draws), world_size)",
        "range(0, len(self.draws), world_size)",
        "tests/callbacks/test_loss_floor.py",
    ),
    Mutant(
        "the excess of the weights in training",
        "callbacks/loss_floor.py",
        "module.evaluation_network",
        "module.network",
        "tests/callbacks/test_loss_floor.py",
    ),
    Mutant(
        "a solver that the model's path does not serve",
        "callbacks/generation.py",
        "        sampling.solver.solve(StillField(path), torch.zeros(1, 1), times)\n",
        "",
        "tests/runs/test_sampling_paths.py",
    ),
    Mutant(
        "a callback that Lightning enters at every hook",
        "callbacks/sample_grid.py",
        "class SampleGrid(NoStepHooks, Callback):",
        "class SampleGrid(Callback):",
        "tests/callbacks/test_step_hooks.py",
    ),
]
