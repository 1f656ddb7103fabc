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
        "if sampling.path is not None and not isinstance(path, GaussianPath):",
        "if sampling.path is None and not isinstance(path, GaussianPath):",
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
        "a resumed run counts its batch twice",
        "callbacks/step_end.py",
        'count["completed"] = count["processed"] - 1',
        'count["completed"] = count["processed"]',
        "tests/runs/test_resume_anywhere.py",
    ),
    Mutant(
        "a stopped validation not made again",
        "callbacks/checkpoints.py",
        "        if self._validation_due:\n            validate_now(trainer)\n",
        "",
        "tests/runs/test_resume_anywhere.py",
    ),
    Mutant(
        "the last validation of a run not made up for",
        "callbacks/checkpoints.py",
        "        self._saved_step = trainer.global_step\n        validate_now(trainer)\n        return True",
        "        return False",
        "tests/runs/test_resume_anywhere.py",
    ),
    Mutant(
        "processes stop in different stretches",
        "callbacks/agreement.py",
        "max(int(value) for value",
        "min(int(value) for value",
        "tests/callbacks/test_agreement.py",
    ),
    Mutant(
        "a process waits for ever",
        "callbacks/agreement.py",
        'if beat != b"left" and now',
        'if beat == b"left" and now',
        "tests/callbacks/test_agreement.py",
    ),
    Mutant(
        "a signal in a validation waits for its end",
        "callbacks/preemption.py",
        "        if self.agreement.point():\n            self._stop(trainer)",
        "        pass",
        "tests/runs/test_resume_anywhere.py -k signal",
    ),
    Mutant(
        "a skipped step is not skipped",
        "callbacks/nonfinite.py",
        "parameter.grad = None",
        "pass",
        "tests/runs/test_watched_runs.py -k skipped",
    ),
    Mutant(
        "weights that are not finite are saved",
        "callbacks/nonfinite.py",
        "self.check_losses(trainer, module, trainer.global_step)\n        if not",
        "if",
        "tests/runs/test_watched_runs.py -k named",
    ),
]
