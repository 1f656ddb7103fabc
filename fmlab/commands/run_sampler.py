"""How a run samples: what its configuration says, with what a command's options change."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from fmlab.config.merge import ARGS, CLASS
from fmlab.config.parts import Parts, part
from fmlab.errors import UserError
from fmlab.fields import Sampling
from fmlab.paths import GaussianPath
from fmlab.records import RunLayout
from fmlab.solvers import Grid, Solver

DEFAULTS: dict[str, dict[str, Any]] = {
    "fid": {"solver": "Euler", "steps": 20},
    "samples": {"solver": "Heun", "steps": 10},
}
"""What the callbacks of those sections take where a configuration leaves it out."""


def sampler_section(run: RunLayout) -> dict[str, Any]:
    """The section of a run's configuration that says how it samples: `fid`, else `samples`, else as `fid` would.

    Raises:
        UserError: If the configuration cannot be read.
    """
    try:
        config = yaml.safe_load(run.config.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        cause = " ".join(str(error).split())
        raise UserError(f"cannot be read: {cause[:120]}", key=str(run.config)) from error
    config = config if isinstance(config, dict) else {}
    for name, defaults in DEFAULTS.items():
        if isinstance(config.get(name), dict):
            return {**defaults, **config[name]}
    return dict(DEFAULTS["fid"])


def run_sampling(section: dict[str, Any], options: argparse.Namespace, parts: Parts) -> tuple[Sampling, float]:
    """The sampler and its guidance scale; options that are left out are the run's own.

    Args:
        section: As `sampler_section` gives it.
        options: With `solver`, `grid`, `path`, `steps` and `guidance_scale`, each None where it is left out.
        parts: Arguments of solver, grid and path.

    Raises:
        UserError: If there is no such part, or an argument does not fit.
    """
    solver = _component("solver", options.solver, section.get("solver"), Solver, parts)
    grid = _component("grid", options.grid, section.get("grid") or "UniformGrid", Grid, parts)
    path = _component("path", options.path, section.get("path"), GaussianPath, parts)
    scales = section.get("guidance_scales") or [section.get("guidance_scale", 1.0)]
    scale = scales[0] if options.guidance_scale is None else options.guidance_scale
    steps = section["steps"] if options.steps is None else options.steps
    if steps < 1:
        raise UserError(f"a solve takes at least 1 step, got {steps}", key="steps")
    return Sampling(solver, steps, grid, path), float(scale)


def _component(name: str, word: str | None, own: Any, base: type, parts: Parts) -> Any:
    """A part of the sampler: the option's, else the run's own with the option's arguments laid over it."""
    arguments = dict(parts[name])
    if word is None and own is None:
        if arguments:
            raise UserError(f"is an argument of no {name}", key=f"{name}.{next(iter(arguments))}")
        return None
    if word is None:
        word = own[CLASS] if isinstance(own, dict) else own
        arguments = {**(own.get(ARGS) or {} if isinstance(own, dict) else {}), **arguments}
    return part(name, word, base, {name: arguments})
