"""`fmlab draw process`: simulated paths of a process against its exact law."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmlab.config.parts import Parts, part
from fmlab.config.values import read_value
from fmlab.distributions import Distribution, GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import Langevin, Process
from fmlab.figures import check_suffix, paths_in_plane, paths_in_time, save_figure
from fmlab.solvers import Solver

SIMULATED = 4000
"""So many paths are simulated for their mean and standard deviation, however few are drawn."""


def draw_process(options: argparse.Namespace, parts: Parts) -> int:
    """Simulates, writes the picture, and says how the ends compare with the exact law."""
    check(options)
    process: Process = part("process", options.process, Process, parts)
    solver: Solver = part("solver", options.solver, Solver, parts)
    points = start_points(options, process)
    times = torch.linspace(0, options.until, options.steps + 1, dtype=torch.float64)
    paths = simulate(process, solver, points, times, options)
    known = knowledge(process, points, times)
    save_figure(picture(paths, times, known, process, solver, options), Path(options.out))
    print(f"{paths.shape[1]} paths of {process!r} by {solver!r} in {options.steps} steps")
    print(f"at t = {options.until:g}: {moments(paths[-1])}; {known.name} {moments(known.end)}")
    print(f"figure     {options.out}")
    return 0


def check(options: argparse.Namespace) -> None:
    """Refuses what cannot be simulated or written."""
    if options.steps < 1:
        raise UserError(f"a solve takes at least 1 step, got {options.steps}", key="steps")
    if options.n < 1:
        raise UserError(f"{options.n} paths", key="n", hint="at least 1")
    if not 0 < options.until < float("inf"):
        raise UserError(f"the last time is positive and finite, got {options.until}", key="until")
    check_suffix(Path(options.out), moving=False)


def start_points(options: argparse.Namespace, process: Process) -> Tensor:
    """The points of shape (S, d), d = 1 or 2, from which the paths start in turn.

    Raises:
        UserError: If `--start` names no such points, or the process has more dimensions.
    """
    if process.shape not in (None, (1,), (2,)):
        raise UserError(f"one or two dimensions can be drawn, not shape {process.shape}", key="process")
    dimensions = [1, 2] if process.shape is None else list(process.shape)
    if options.start is None and not process.stochastic:
        generator = torch.Generator().manual_seed(options.seed)
        return torch.randn(max(SIMULATED, options.n), dimensions[0], generator=generator, dtype=torch.float64)
    try:
        points = torch.tensor(read_value(options.start or "0"), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        cause, hint = f"cannot read {options.start!r}", "write 1, [1,0] or [[1,0],[0,1]]"
        raise UserError(cause, key="start", hint=hint) from None
    if points.ndim == 0:
        points = points.expand(1, dimensions[0])
    elif points.ndim == 1:
        points = points[:, None] if 1 in dimensions else points[None]
    if points.ndim != 2 or points.shape[1] not in dimensions or not len(points):
        wanted = " or ".join(map(str, dimensions))
        raise UserError(f"a point of this process has {wanted} coordinates, got {options.start}", key="start")
    return points


def simulate(process: Process, solver: Solver, points: Tensor, times: Tensor, options: argparse.Namespace) -> Tensor:
    """Paths of shape (T, N, d), N at least `SIMULATED`.

    Raises:
        UserError: If the solver diverges.
    """
    generator = torch.Generator().manual_seed(options.seed)

    def noise(step: int, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    start = points[torch.arange(max(SIMULATED, options.n)) % len(points)]
    paths = solver.solve(process, start, times, noise=noise, trajectory=True)
    if not torch.isfinite(paths.square()).all():
        raise UserError(f"{solver!r} diverges in {options.steps} steps", key="steps", hint="take more, or end earlier")
    return paths


@dataclass(frozen=True)
class Knowledge:
    """What is known of a process without simulation.

    Attributes:
        name: "exact", or "invariant law" where only that is known.
        end: The law of the last state, whichever the start; or the invariant law.
        mean: The mean at each time from each start, of shape (T, S, d), or None.
        std: The standard deviation of the first coordinate at each time, of shape (T,), or None without noise.
    """

    name: str
    end: Distribution
    mean: Tensor | None = None
    std: Tensor | None = None


def knowledge(process: Process, points: Tensor, times: Tensor) -> Knowledge:
    """What is known of a process that starts in turn from the points (S, d)."""
    try:
        laws = [process.law(points, t) for t in times]
    except UserError:
        if not isinstance(process, Langevin):
            raise
        return Knowledge("invariant law", process.distribution)
    mean, last = torch.stack([law.mean for law in laws]), laws[-1]
    covariance = last.covariance if last.covariance.ndim else last.covariance * torch.eye(mean.shape[2]).to(mean)
    end = GaussianMixture(torch.ones(len(points)), last.mean, covariance.expand(len(points), -1, -1))
    std = torch.stack([law.std.flatten()[0] for law in laws]) if process.stochastic else None
    return Knowledge("exact", end, mean, std)


def picture(
    paths: Tensor, times: Tensor, known: Knowledge, process: Process, solver: Solver, options: argparse.Namespace
) -> Any:
    """Paths over time in one dimension, in the plane in two."""
    title = f"{process!r}, {solver!r} in {options.steps} steps"
    mean = None if known.mean is None else known.mean[:, : options.n]

    def density(x: Tensor) -> Tensor:
        return known.end.log_density(x).exp()

    shown, shade = paths[:, : options.n], density if process.stochastic else None
    if paths.shape[2] == 2:
        name = "exact density of the ends" if known.name == "exact" else "invariant density"
        return paths_in_plane(shown, title, mean=mean, density=shade, density_name=name)
    centre = None if mean is None else mean[..., 0]
    return paths_in_time(times, shown[..., 0], paths[-1, :, 0], title, mean=centre, std=known.std, density=shade)


def moments(of: Distribution | Tensor) -> str:
    """Mean and standard deviation of a law, or of points (N, d), in words."""
    if isinstance(of, GaussianMixture):
        mean, std = of.mean, of.covariance.diagonal().sqrt()
    else:
        points = of if isinstance(of, Tensor) else of.sample(100_000, torch.Generator().manual_seed(0))
        mean, std = points.mean(0), points.std(0)
    words = [", ".join(f"{round(entry, 4) + 0:g}" for entry in values.tolist()) for values in (mean, std)]
    brackets = "({})" if len(mean) > 1 else "{}"
    return f"mean {brackets.format(words[0])}, std {brackets.format(words[1])}"
