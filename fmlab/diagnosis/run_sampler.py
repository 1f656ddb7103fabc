"""How a run samples: as its own validation does, with what options change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fmlab.config.build import build
from fmlab.config.merge import ARGS, CLASS
from fmlab.config.options import Component
from fmlab.config.parts import with_arguments
from fmlab.config.values import read_file
from fmlab.errors import UserError
from fmlab.fields import Sampling
from fmlab.metrics.features import FeatureKind
from fmlab.paths import GaussianPath
from fmlab.records import RunLayout
from fmlab.solvers import Grid, Solver
from fmlab.training import SampleGrid, SampleMetrics


@dataclass(frozen=True)
class RunSampler:
    """How the samples of a run are made and measured, and the section of the configuration that says so."""

    sampling: Sampling
    guidance_scale: float
    features: FeatureKind
    section: dict[str, Any]


def read_run_sampler(layout: RunLayout, trust: bool = False) -> RunSampler:
    """The sampler of a run's `fid` section; else of its `samples`; else that of `fid` where nothing is said.

    Raises:
        UserError: If the configuration cannot be read, the section does not describe a sampler, or it needs trust.
    """
    config = read_file(layout.config)
    if isinstance(config.get("samples"), dict) and not isinstance(config.get("fid"), dict):
        section = config["samples"]
        grids = build({CLASS: "fmlab.training.SampleGrid", ARGS: section}, SampleGrid, "samples", trust)
        return RunSampler(grids.sampling, grids.guidance_scales[0], "auto", section)
    section = config.get("fid") or {}
    metrics = build({CLASS: "fmlab.training.SampleMetrics", ARGS: section}, SampleMetrics, "fid", trust)
    return RunSampler(metrics.sampling, metrics.guidance_scale, metrics.features, section)


def change_sampling(
    run_sampler: RunSampler, solver: Component, grid: Component, path: Component, steps: int | None = None
) -> Sampling:
    """The run's own sampling with what options name in the place of its parts, or arguments that change these.

    Raises:
        UserError: If there is no such part, or an argument does not fit.
    """

    def choose(name: str, option: Component, base: type) -> Any:
        if option == Component():
            return getattr(run_sampler.sampling, name)
        node = option.name or run_sampler.section.get(name)
        if node is None:
            raise UserError(f"no {name} takes this argument", key=f"{name}.{next(iter(option.arguments))}")
        return build(with_arguments(node, option.arguments, name), base, name)

    return Sampling(
        choose("solver", solver, Solver),
        run_sampler.sampling.steps if steps is None else steps,
        choose("grid", grid, Grid),
        choose("path", path, GaussianPath),
    )
