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
        "return -self.noise / self.path.beta(t)\n\n    def mix(self, other: PathPrediction, weight: float) -> Pr",
        "return self.noise / self.path.beta(t)\n\n    def mix(self, other: PathPrediction, weight: float) -> Pr",
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
        "return math.pi / 2 * self._fall(t)",
        "return math.pi * self._fall(t)",
        "tests/paths",
    ),
    Mutant(
        "VP's constant in alpha",
        "paths/variance_preserving.py",
        "- s * self.beta_min / 2",
        "- s * self.beta_min",
        "tests/paths",
    ),
    Mutant(
        "noise asked at t = 0",
        "paths/gaussian.py",
        'low = self.t_start + (self.LOW_MARGIN if output in ("noise", "score")',
        'low = self.t_start + (0.0 if output in ("noise", "score")',
        "tests/fields",
    ),
    Mutant(
        "the start of a solve",
        "paths/gaussian.py",
        ".item() * source",
        ".item() ** 2 * source + 0.01",
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
        "a bridge's velocity without its noise",
        "paths/interpolant.py",
        "velocity + self.noise_scale_dot(time) * noise",
        "velocity",
        "tests/modules/test_sources.py",
    ),
    Mutant(
        "the score head's error",
        "modules/flow_matching.py",
        "-point.noise_scale * prediction.score - point.noise",
        "point.noise_scale * prediction.score - point.noise",
        "tests/modules/test_sources.py",
    ),
    Mutant(
        "all samples start from one seed",
        "modules/sources.py",
        "self.distribution.sample(1, keyed_generator(seed, Purpose.NOISE, 0)) for seed in seeds",
        "self.distribution.sample(1, keyed_generator(0, Purpose.NOISE, 0)) for seed in seeds",
        "tests/modules/test_sources.py",
        "a stage's time by addition",
        "solvers/runge_kutta.py",
        "time = (1 - node) * t + node * t_next",
        "time = t + node * (t_next - t)",
        "tests/solvers/test_orders.py",
    ),
    Mutant(
        "a weight of RK3",
        "solvers/runge_kutta.py",
        "weights=(2 / 9, 1 / 3, 4 / 9)",
        "weights=(2 / 9, 4 / 9, 1 / 3)",
        "tests/solvers/test_orders.py",
    ),
    Mutant(
        "Heun's last step in full",
        "solvers/ode.py",
        "        if last:",
        "        if False:",
        "tests/solvers/test_orders.py",
    ),
    Mutant(
        "Adams-Bashforth as if steps were even",
        "solvers/adams_bashforth.py",
        "weights = adams_bashforth_weights(self.times, t_next.item())",
        "weights = [(t_next - t) * w for w in adams_bashforth_weights(range(len(self.times)), len(self.times))]",
        "tests/solvers/test_orders.py",
    ),
    Mutant(
        "Adams-Bashforth remembers another solve",
        "solvers/adams_bashforth.py",
        "return _Steps(self)",
        'return self.__dict__.setdefault("_steps", _Steps(self))',
        "tests/solvers/test_orders.py",
    ),
    Mutant(
        "one error norm for the batch",
        "solvers/dopri5.py",
        ".square().mean(1).sqrt()",
        ".square().mean().sqrt().expand(len(change))",
        "tests/solvers/test_dopri5.py",
    ),
    Mutant(
        "the velocity of a rejected step kept",
        "solvers/dopri5.py",
        "self.velocity = torch.where(moved, stages[-1], self.velocity)",
        "self.velocity = stages[-1]",
        "tests/solvers/test_dopri5.py",
    ),
    Mutant(
        "a step cut short shortens the next",
        "solvers/dopri5.py",
        "torch.where(accepted & cut, torch.maximum(tried, self.length), tried)",
        "tried",
        "tests/solvers/test_dopri5.py",
    ),
    Mutant(
        "a coefficient of the error estimate",
        "solvers/dopri5.py",
        "22 / 525, -1 / 40",
        "22 / 525, 1 / 40",
        "tests/solvers/test_orders.py",
    ),
    Mutant(
        "ratios the path does not have",
        "solvers/grids.py",
        "min(self.sigma_max, start), max(self.sigma_min, end)",
        "self.sigma_max, self.sigma_min",
        "tests/solvers/test_grids.py",
    ),
    Mutant(
        "the shift the other way",
        "solvers/grids.py",
        "(self.shift - 1) * (1 - u)",
        "(1 / self.shift - 1) * (1 - u)",
        "tests/solvers/test_grids.py",
        "the dearest matching",
        "objectives/transport.py",
        "linear_sum_assignment(cost.cpu().numpy())",
        "linear_sum_assignment(cost.cpu().numpy(), maximize=True)",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "preparing a matching changes it",
        "objectives/transport.py",
        "cost = cost - first[:, None] - second",
        "cost = cost - first[:, None] * second",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "distances not squared",
        "objectives/transport.py",
        "flat[1].double()).square()",
        "flat[1].double())",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "steps of Sinkhorn on scaling factors",
        "objectives/transport.py",
        "columns + regularisation * scaling.log()",
        "columns - regularisation * scaling.log()",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "partners from columns of the plan",
        "objectives/couplings.py",
        "torch.multinomial(plan.to",
        "torch.multinomial(plan.T.to",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "the default regularisation",
        "objectives/couplings.py",
        "RELATIVE_REGULARISATION = 0.05",
        "RELATIVE_REGULARISATION = 1.0",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "the weight of conditions",
        "objectives/couplings.py",
        "self.condition_weight * between",
        "self.condition_weight**2 * between",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "classes exchange their draws",
        "objectives/couplings.py",
        "order[rows] = rows[exact_matching",
        "order[rows] = rows.flip(0)[exact_matching",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "labels are numbers",
        "objectives/couplings.py",
        "if condition.is_floating_point():",
        "if True:",
        "tests/objectives/test_couplings.py",
    ),
    Mutant(
        "the batch stands first in the pool",
        "modules/pairing.py",
        "order = torch.randperm(len(pool.data), generator=generator, device=generator.device)",
        "order = torch.arange(len(pool.data))",
        "tests/modules/test_pairing.py",
    ),
    Mutant(
        "other pairs kept than the batch's",
        "modules/pairing.py",
        "matched[order.argsort()[: len(pairs.data)]]",
        "matched[order[: len(pairs.data)]]",
        "tests/modules/test_pairing.py",
    ),
    Mutant(
        "a pool counted a process",
        "modules/pairing.py",
        "own = len(pairs.data) * (dist.get_world_size() if shared else 1)",
        "own = len(pairs.data)",
        "tests/modules/test_pairing.py",
    ),
    Mutant(
        "shares of the wrong process",
        "modules/pairing.py",
        "chunk(dist.get_world_size())), src=0)",
        "chunk(dist.get_world_size()))[::-1], src=0)",
        "tests/modules/test_pairing.py",
    ),
    Mutant(
        "processes wait outside of training",
        "modules/pairing.py",
        "shared = together and",
        "shared =",
        "tests/modules/test_pairing.py",
    ),
    Mutant(
        "partners not prepared",
        "modules/base.py",
        "        if training:\n            batch = self.prepared",
        "        if not training:\n            batch = self.prepared",
        "tests/modules/test_pairing.py",
    ),
    Mutant(
        "a warning for models without labels",
        "modules/pairing.py",
        "if num_classes is not None and isinstance",
        "if num_classes is None and isinstance",
        "tests/modules/test_pairing.py",
        "the noise left at the end",
        "paths/schedules.py",
        "return self.sigma_min + (1 - self.sigma_min) * self._fall(t)",
        "return self.sigma_min + self._fall(t)",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "sigma_min lost in float32",
        "paths/schedules.py",
        "return self.sigma_min + (1 - self.sigma_min) * self._fall(t)",
        "return 1 - (1 - self.sigma_min) * (1 - self._fall(t))",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "the phase shift of the cosine's inverse",
        "paths/schedules.py",
        "return (shift + rest) * (2 / math.pi)",
        "return shift * (2 / math.pi)",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "a fudge in the derivative of a root",
        "paths/schedules.py",
        "torch.rsqrt(1 - t)",
        "torch.rsqrt(1 - t + 1e-4)",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "an inverse that cancels",
        "paths/schedules.py",
        "return -torch.expm1(-2 * torch.asinh(torch.exp(log_snr / 2) / 2))",
        "return (torch.sqrt(torch.exp(log_snr) ** 2 + 4 * torch.exp(log_snr)) - torch.exp(log_snr)) / 2",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "t = 1 clipped although noise is left",
        "paths/schedules.py",
        "self.beta_vanishes_at_end = sigma_min == 0",
        "self.beta_vanishes_at_end = True",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "sub-VP's derivative",
        "paths/variance_preserving.py",
        "return -2 * self.alpha(t) ** 2",
        "return -self.alpha(t) ** 2",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "t = 1 not clipped on LinearVP",
        "paths/variance_preserving.py",
        "(1 - t) * (1 + t))",
        "(1 - t) * (1 + t) + 1e-6)",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "VE's inverse",
        "paths/variance_exploding.py",
        "(-log_snr / 2 - math.log(self.sigma_max))",
        "(-log_snr - math.log(self.sigma_max))",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "EDM's exponent",
        "paths/variance_exploding.py",
        "return self._root(t) ** self.rho",
        "return self._root(t) ** 6",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "flags in a path's repr",
        "paths/base.py",
        "inspect.signature(type(self)).parameters if hasattr(self, name)",
        "vars(self)",
        "tests/paths/test_schedules.py",
    ),
    Mutant(
        "a posterior mixed with itself",
        "paths/prediction.py",
        "return (1 - weight) * self.as_kind(kind) + weight * other.as_kind(kind)",
        "return self.as_kind(kind)",
        "tests/paths/test_prediction.py",
    ),
    Mutant(
        "a mixed score of one side",
        "paths/prediction.py",
        "(1 - weight) * self.own_score + weight * other.score",
        "self.own_score",
        "tests/paths/test_prediction.py",
    ),
    Mutant(
        "the skip connection",
        "paths/preconditioning.py",
        "return path.alpha(t) * self.sigma_data**2 / self.variance(t, path)",
        "return self.sigma_data**2 / self.variance(t, path)",
        "tests/paths/test_preconditioning.py",
    ),
    Mutant(
        "the preconditioned velocity's growth",
        "paths/preconditioning.py",
        "* self.sigma_data**2 + path.beta(time) * path.beta_dot(time)",
        "* self.sigma_data**2",
        "tests/paths/test_preconditioning.py",
    ),
    Mutant(
        "the bridge's noise grows where it shrinks",
        "paths/interpolant.py",
        "return self.sigma * (1 - 2 * t) /",
        "return self.sigma * (2 * t - 1) /",
        "tests/paths/test_interpolant.py",
    ),
    Mutant(
        "a bridge asked at its ends",
        "paths/interpolant.py",
        "margin = self.MARGIN if self.needs_noise else 0.0",
        "margin = 0.0",
        "tests/paths/test_interpolant.py",
    ),
    Mutant(
        "an exact field at an infinite derivative",
        "fields/exact.py",
        't = self.gaussian.clip(t, "velocity")',
        "t = t.clone()",
        "tests/fields/test_field_ends.py",
    ),
    Mutant(
        "x not rescaled for the trained path",
        "fields/schedule_change.py",
        "self._known(x / scale, time",
        "self._known(x, time",
        "tests/fields/test_schedule_change.py",
    ),
    Mutant(
        "the changed score not rescaled",
        "fields/schedule_change.py",
        "data, noise), score / scale)",
        "data, noise), score)",
        "tests/fields/test_schedule_change.py",
    ),
    Mutant(
        "a changed field out of step with x",
        "fields/schedule_change.py",
        "*self._consistent(x, r, log_snr, data, noise)",
        "data, noise",
        "tests/fields/test_schedule_change.py",
    ),
    Mutant(
        "a time beyond the trained",
        "fields/schedule_change.py",
        'self.trained.clip(self.trained.log_snr_inverse(log_snr), "velocity")',
        "self.trained.log_snr_inverse(log_snr)",
        "tests/fields/test_schedule_change.py",
    ),
    Mutant(
        "the score's head used for the flow",
        "fields/schedule_change.py",
        "if isinstance(found, FlowAndScore):",
        "if found is None:",
        "tests/fields/test_schedule_change.py",
    ),
    Mutant(
        "a division by 0 in the changed field's gradient",
        "fields/schedule_change.py",
        "torch.where(noisy, beta, 1.0)",
        "beta",
        "tests/fields/test_schedule_change.py",
    ),
    Mutant(
        "the path to sample along forgotten",
        "fields/sampling.py",
        "if self.path is not None:",
        "if self.path is None and self.steps < 0:",
        "tests/fields/test_schedule_change.py",
    ),
    Mutant(
        "the recorded path",
        "callbacks/sample_metrics.py",
        "repr(sampling.path or trainer.lightning_module.path)",
        "repr(trainer.lightning_module.path)",
        "tests/runs/test_sampling_paths.py",
    ),
    Mutant(
        "a bridge's run sampled along VP",
        "callbacks/generation.py",
        "if sampling.path is not None and not isinstance(path, GaussianPath):",
        "if sampling.path is None and not isinstance(path, GaussianPath):",
        "tests/runs/test_sampling_paths.py",
        "a training point's own norm forgotten",
        "distributions/empirical.py",
        "alpha**2 / 2 * squares",
        "alpha / 2 * squares",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "the exponents of a training set in float32",
        "distributions/empirical.py",
        "exact, alpha, beta = x.double(), alpha.to(x.device).double(), beta.to(x.device).double()",
        "exact, alpha, beta = x.float(), alpha.to(x.device).float(), beta.to(x.device).float()",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "earlier chunks not rescaled",
        "distributions/empirical.py",
        "total = shrink * total + share @ points",
        "total = total + share @ points",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "mirror images left out of the posterior",
        "distributions/empirical.py",
        "            if self.mirrored:\n                yield",
        "            if not points.ndim:\n                yield",
        "tests/distributions/test_empirical.py tests/callbacks/test_loss_floor.py",
    ),
    Mutant(
        "expected noise where there is none",
        "distributions/empirical.py",
        "torch.where(beta > 0, (exact - alpha * data) / divisor, torch.zeros_like(exact))",
        "(exact - alpha * data) / beta",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "a mixture's variance without its noise",
        "distributions/gaussian.py",
        "total = alpha[..., None] ** 2 * variances + beta[..., None] ** 2",
        "total = alpha[..., None] ** 2 * variances + beta[..., None]",
        "tests/distributions/test_gaussian_posterior.py",
    ),
    Mutant(
        "responsibilities without their determinants",
        "distributions/gaussian.py",
        "fit = -0.5 * (along**2 / total + total.log()).sum(-1)",
        "fit = -0.5 * (along**2 / total).sum(-1)",
        "tests/distributions/test_gaussian_posterior.py",
    ),
    Mutant(
        "classes of a batch handed back in the wrong order",
        "fields/exact.py",
        "torch.cat([rows for _, rows in groups]).argsort()",
        "torch.cat([rows for _, rows in groups])",
        "tests/fields/test_event_shapes.py",
    ),
    Mutant(
        "no label taken for a class",
        "fields/exact.py",
        "return law if label == law.num_classes",
        "return law if label is None",
        "tests/fields",
    ),
    Mutant(
        "the excess against the targets of training",
        "fields/floor.py",
        "replace(point, velocity=exact.velocity, noise=exact.noise)",
        "point",
        "tests/callbacks/test_loss_floor.py",
    ),
    Mutant(
        "the floor over the undropped labels",
        "modules/exact_law.py",
        "condition=self.module.drop_labels(batch.condition, draw(Purpose.LABEL_DROPOUT))",
        "condition=batch.condition",
        "tests/callbacks/test_loss_floor.py",
    ),
    Mutant(
        "the floor of unflipped images",
        "modules/exact_law.py",
        "batch.replace(data=self.data.augment(batch.data, draw(Purpose.AUGMENT)))",
        "batch.replace(data=batch.data)",
        "tests/callbacks/test_loss_floor.py",
    ),
    Mutant(
        "the floor of a run with another coupling",
        "modules/exact_law.py",
        "if type(module.coupling) is not Independent:",
        "if module.coupling is None:",
        "tests/callbacks/test_loss_floor.py",
    ),
    Mutant(
        "every process measures the same draws",
        "callbacks/loss_floor.py",
        "range(trainer.global_rank, len(draws), trainer.world_size)",
        "range(0, len(draws), trainer.world_size)",
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
        "a standard deviation for a standard error",
        "objectives/time_bins.py",
        "math.sqrt(variance / count)",
        "math.sqrt(variance)",
        "tests/objectives/test_means_by_time.py",
    ),
    Mutant(
        "the network followed where the exact field is asked",
        "cli/sample.py",
        "trained.exact_field if options.exact else trained.field",
        "trained.field",
        "tests/runs/test_exact_runs.py",
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
