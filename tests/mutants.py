"""Breaks the code one line at a time and names the test that notices: `python tests/mutants.py [WORD ...]`.

Each break is applied to a copy of the package; the tests named beside it must fail. Words choose the breaks whose file
or description contains one of them. Exits with 1 if a break survives or its line is no longer there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """One break: `old` becomes `new` in `file`, and one of `tests` must notice."""

    what: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(
        "the sign of the score",
        "paths/prediction.py",
        "return -self.noise / self.path.beta(t)",
        "return self.noise / self.path.beta(t)",
        "tests/paths",
    ),
    Mutant(
        "velocity from data",
        "paths/prediction.py",
        "* x + path.wronskian(t) * self.value) / path.beta(t)",
        "* x - path.wronskian(t) * self.value) / path.beta(t)",
        "tests/paths",
    ),
    Mutant(
        "a factor in the cosine path's derivative",
        "paths/schedules.py",
        "return math.pi / 2 * self.beta(t)",
        "return math.pi * self.beta(t)",
        "tests/paths",
    ),
    Mutant(
        "VP's constant in alpha",
        "paths/schedules.py",
        "- s * self.beta_min / 2",
        "- s * self.beta_min",
        "tests/paths",
    ),
    Mutant(
        "noise asked at t = 0",
        "paths/gaussian.py",
        'low = self.t_start + (self.LOW_MARGIN if kind in ("noise", "score")',
        'low = self.t_start + (0.0 if kind in ("noise", "score")',
        "tests/fields",
    ),
    Mutant(
        "the start of a solve",
        "paths/gaussian.py",
        ".item() * noise",
        ".item() ** 2 * noise + 0.01",
        "tests/paths",
    ),
    Mutant(
        "guidance towards the null condition",
        "fields/guided.py",
        "return self.unconditional(x, t).mix(self.conditional(x, t), self.scale)",
        "return self.conditional(x, t).mix(self.unconditional(x, t), self.scale)",
        "tests/fields",
    ),
    Mutant(
        "a guided step counted once",
        "fields/guided.py",
        "return self.conditional.nfe + self.unconditional.nfe",
        "return self.conditional.nfe",
        "tests/fields",
    ),
    Mutant(
        "Heun's second slope",
        "solvers/ode.py",
        "field(predicted, t_next).velocity)",
        "field(predicted, t).velocity)",
        "tests/solvers",
    ),
    Mutant(
        "the score's weight in the SDE",
        "solvers/sde.py",
        "sigma**2 / 2 * score",
        "sigma**2 * score",
        "tests/solvers",
    ),
    Mutant(
        "the increment's standard deviation",
        "solvers/sde.py",
        "sigma * torch.sqrt(step) * noise(x)",
        "sigma * step * noise(x)",
        "tests/solvers",
    ),
    Mutant(
        "noise of every step alike",
        "solvers/seeds.py",
        "int(Purpose.NOISE), step + 1)",
        "int(Purpose.NOISE), 0)",
        "tests/solvers",
    ),
    Mutant(
        "the rho grid's direction",
        "solvers/grids.py",
        "(high + ramp * (low - high))",
        "(low + ramp * (high - low))",
        "tests/solvers",
    ),
    Mutant(
        "the null condition",
        "modules/base.py",
        "condition.masked_fill(dropped, self.num_classes)",
        "condition.masked_fill(dropped, 0)",
        "tests/modules",
    ),
    Mutant(
        "labels dropped for the whole batch",
        "modules/base.py",
        "torch.rand(len(condition), generator",
        "torch.rand(1, generator",
        "tests/modules",
    ),
    Mutant(
        "the rank's key",
        "modules/base.py",
        "self.trainer.world_size + self.global_rank\n\n    def drop",
        "self.trainer.world_size\n\n    def drop",
        "tests/modules",
    ),
    Mutant(
        "dropout not keyed by the step",
        "modules/base.py",
        "fold(self.seed, step, shard, Purpose.TORCH)",
        "fold(self.seed, shard, Purpose.TORCH)",
        "tests/modules",
    ),
    Mutant(
        "the noise error's sign",
        "modules/score_matching.py",
        "return prediction.noise - noise",
        "return prediction.noise + noise",
        "tests/modules",
    ),
    Mutant(
        "the end of the cosine schedule",
        "modules/optimization.py",
        "math.cos(math.pi * progress)",
        "math.cos(progress)",
        "tests/modules",
    ),
    Mutant(
        "the averaging weight",
        "callbacks/averaged_weights.py",
        "1 - self.decay_at(decay, self.step)",
        "self.decay_at(decay, self.step)",
        "tests/callbacks",
    ),
    Mutant(
        "validation with the live weights",
        "modules/base.py",
        "return next(iter(self.averaged.values()), self.network)",
        "return self.network",
        "tests/callbacks",
    ),
    Mutant(
        "the wrong weights loaded",
        "loading.py",
        'if weights == "averaged" and averages:',
        'if weights == "raw" and averages:',
        "tests/runs/test_run_record.py -k load",
    ),
    Mutant(
        "a step of data skipped on resuming",
        "data/loading.py",
        '"rows": done * self._rows_a_batch',
        '"rows": (done + 1) * self._rows_a_batch',
        "tests/data/test_resume.py",
    ),
    Mutant(
        "both ranks read the same rows",
        "data/order.py",
        "start = (index * self.world_size + self.rank) * self.batch_size",
        "start = index * self.world_size * self.batch_size",
        "tests/data/test_order.py",
    ),
    Mutant(
        "the rounding of pixels",
        "data/pixels.py",
        "* 127.5 + 128.0)",
        "* 127.5 + 127.5)",
        "tests/data/test_pixels.py",
    ),
    Mutant(
        "the Fréchet distance's overlap",
        "metrics/frechet.py",
        "sigma2.trace() - 2 * overlap",
        "sigma2.trace() - overlap",
        "tests/metrics/test_frechet.py",
    ),
    Mutant(
        "rows of metrics twice after a resume",
        "records/csv_metrics.py",
        "if int(row[STEP]) <= step]",
        "if int(row[STEP]) >= 0]",
        "tests/records",
    ),
    Mutant(
        "overrides before files",
        "cli/compose.py",
        "resolve=True)",
        "resolve=False)",
        "tests/cli/test_compose.py",
    ),
    Mutant(
        "the output not zero at the start",
        "networks/dit.py",
        "nn.init.zeros_(self.final_layer.linear.weight)",
        "pass",
        "tests/networks/test_networks.py tests/networks/test_dit.py",
    ),
    Mutant(
        "strata in blocks, not shared out",
        "objectives/time_samplers.py",
        "strata = moment.shard + moment.shards * torch.randperm(",
        "strata = moment.shard * n + torch.randperm(",
        "tests/objectives",
    ),
    Mutant(
        "strata in order, not shuffled",
        "objectives/time_samplers.py",
        "torch.randperm(n, generator=generator, device=device)",
        "torch.arange(n, device=device)",
        "tests/objectives",
    ),
    Mutant(
        "the u-shape's steepness",
        "objectives/time_samplers.py",
        "math.sinh(a / 2)) / a",
        "math.sinh(a)) / a",
        "tests/objectives",
    ),
    Mutant(
        "the moving law's direction",
        "objectives/time_samplers.py",
        "moment.progress * (self.end - self.start)",
        "moment.progress * (self.start - self.end)",
        "tests/objectives",
    ),
    Mutant(
        "log-SNR from log-sigma",
        "objectives/time_samplers.py",
        "log_snr_inverse(-2 * log_sigma)",
        "log_snr_inverse(-log_sigma)",
        "tests/objectives",
    ),
    Mutant(
        "EDM's weight on the velocity",
        "objectives/weights.py",
        "/ (self.sigma_data * path.wronskian(t)) ** 2",
        "/ (self.sigma_data * path.beta(t)) ** 2",
        "tests/objectives",
    ),
    Mutant(
        "the smaller of SNR and gamma",
        "objectives/weights.py",
        "torch.minimum(path.alpha(t) ** 2",
        "torch.maximum(path.alpha(t) ** 2",
        "tests/objectives",
    ),
    Mutant(
        "the likelihood's weight doubled",
        "objectives/weights.py",
        "return path.wronskian(t) / (path.alpha(t) * path.beta(t))",
        "return 2 * path.wronskian(t) / (path.alpha(t) * path.beta(t))",
        "tests/objectives",
    ),
    Mutant(
        "a weight that is infinite at the end",
        "modules/base.py",
        "t = self.weight.clip(t, self.path, space)",
        "self.weight.clip(t, self.path, space)",
        "tests/objectives",
    ),
    Mutant(
        "pseudo-Huber of the sum",
        "objectives/losses.py",
        "mean_square = error.square().flatten(1).mean(1)",
        "mean_square = error.square().flatten(1).sum(1)",
        "tests/objectives",
    ),
    Mutant(
        "progress that a resumed run forgets",
        "modules/base.py",
        "return min(1.0, self.global_step / max",
        "return min(1.0, self._position[1] / max",
        "tests/runs/test_objective_runs.py",
    ),
    Mutant(
        "the memoryless factor of two",
        "solvers/diffusion.py",
        "torch.sqrt(2 * gaussian.beta(t) * gaussian.wronskian(t)",
        "torch.sqrt(gaussian.beta(t) * gaussian.wronskian(t)",
        "tests/solvers/test_sde.py",
    ),
    Mutant(
        "the memoryless coefficient at t = 0",
        "solvers/diffusion.py",
        "t = gaussian.clip_for(t, alpha=True)",
        "t = gaussian.clip_for(t)",
        "tests/solvers/test_sde.py",
    ),
    Mutant(
        "noise that an ODE solver ignores",
        "solvers/base.py",
        'if getattr(field, "stochastic", False) and not self.stochastic:',
        "if False:",
        "tests/solvers/test_sde.py",
    ),
    Mutant(
        "a process with its noise replaced",
        "solvers/sde.py",
        "if own is not None and self.diffusion is not None:",
        "if False:",
        "tests/solvers/test_sde.py",
    ),
    Mutant(
        "the score added to a process's drift",
        "solvers/sde.py",
        "return own(t), False",
        "return own(t), True",
        "tests/solvers/test_sde.py",
    ),
    Mutant(
        "the Ornstein-Uhlenbeck variance",
        "fields/processes.py",
        "math.expm1(-2 * self.theta * float(t))",
        "math.expm1(-self.theta * float(t))",
        "tests/fields/test_processes.py",
    ),
    Mutant(
        "Langevin's drift without the half",
        "fields/processes.py",
        "return self.sigma**2 / 2 * score.view(x.shape)",
        "return self.sigma**2 * score.view(x.shape)",
        "tests/solvers/test_sde.py",
    ),
    Mutant(
        "Langevin's covariance",
        "fields/processes.py",
        "(axes * variances * (1 - kept**2))",
        "(axes * variances * (1 - kept))",
        "tests/fields/test_processes.py",
    ),
    Mutant(
        "a linear ODE's matrix transposed",
        "fields/processes.py",
        "flat @ x.new_tensor(self.matrix).mT",
        "flat @ x.new_tensor(self.matrix)",
        "tests/fields/test_processes.py",
    ),
    Mutant(
        "paths that all start at one point",
        "cli/draw_process.py",
        "% len(points)]",
        "% 1]",
        "tests/cli/test_draw.py",
    ),
]


def apply(mutant: Mutant, copy: Path) -> str | None:
    """Breaks the copy; returns the original text, or None if the line is not there exactly once."""
    file = copy / "fmlab" / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        return None
    file.write_text(text.replace(mutant.old, mutant.new))
    return text


def caught_by(mutant: Mutant, copy: Path) -> str | None:
    """The first test that fails on the broken copy, or None if all pass."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n0",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        *mutant.tests.split(),
    ]
    ended = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    return found.group(1) if ended.returncode == 1 and found else None


def main(words: list[str]) -> int:
    """Applies every chosen break in turn."""
    chosen = [m for m in MUTANTS if not words or any(word in m.file or word in m.what for word in words)]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("fmlab", "tests", "experiments", "sweeps", "pyproject.toml"):
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            (
                shutil.copytree(source, copy / name, ignore=ignore)
                if source.is_dir()
                else shutil.copy2(source, copy / name)
            )
        for mutant in chosen:
            original = apply(mutant, copy)
            test = caught_by(mutant, copy) if original is not None else None
            verdict = test or ("SURVIVED" if original is not None else "THE LINE IS NOT THERE")
            bad += test is None
            print(f"{mutant.what:42} {mutant.file:32} {verdict}", flush=True)
            if original is not None:
                (copy / "fmlab" / mutant.file).write_text(original)
    print(f"{len(chosen) - bad} of {len(chosen)} breaks were caught")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
