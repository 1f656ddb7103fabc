"""`fmlab diagnose`: where the error of a run comes from, printed, drawn and kept as JSON."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from fmlab.commands.shared import Count, Finite, TrainedOptions, check_run
from fmlab.config.options import Component
from fmlab.errors import UserError

if TYPE_CHECKING:
    import torch

    from fmlab.fields import Sampling
    from fmlab.records import RunLayout

SECTIONS: dict[str, dict[str, Any]] = {
    "fid": {"solver": "Euler", "steps": 20},
    "samples": {"solver": "Heun", "steps": 10},
}
"""The sections of a configuration that say how a run samples, and what their callbacks take where it is left out."""


@dataclass(frozen=True)
class OwnScale:
    """How the field is guided.

    Args:
        scale: The guidance scale w: 0 is unconditional, 1 conditional, more than 1 guided; the run's own if left out.
    """

    scale: Finite | None = None


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions(TrainedOptions):
    """Says where the error of a run comes from: its network, its solver, guidance, or too few data.

      fmlab diagnose digits
      fmlab diagnose digits --solver Heun --steps 20 --guidance.scale 2 --num_samples 500

    Args:
        solver: The solver, see fmlab list solvers; the run's own if left out. --solver.NAME VALUE gives an argument.
        grid: Where the steps lie, see fmlab list grids, likewise.
        path: A Gaussian path to sample along, see fmlab list paths, likewise.
        steps: Solver steps; the run's own if left out.
        num_samples: Samples in each set.
        seed: The first sample's seed; the others follow.
        batch_size: Samples a solve.
    """

    solver: Component = Component()
    grid: Component = Component()
    path: Component = Component()
    steps: Count | None = None
    guidance: OwnScale = field(default_factory=OwnScale)
    num_samples: Annotated[int, Ge(2)] = 500
    seed: int = 1_000_000
    batch_size: Count = 250


def run(options: DiagnoseOptions) -> int:
    """Diagnoses a run, prints the report and writes it into the run's folder."""
    check_run(options.run, options.checkpoint)
    from rich.console import Console

    from fmlab.diagnosis.diagnose import diagnose
    from fmlab.diagnosis.report import describe_subject, write_files, write_report
    from fmlab.diagnosis.subject import Subject
    from fmlab.inference.load import load_module
    from fmlab.records import find_run
    from fmlab.training.generation import check_guidance, check_sampler

    began, layout = time.perf_counter(), find_run(options.run)
    loaded = load_module(layout, options.checkpoint, options.weights, trust=options.trust)
    section = sampler_section(layout)
    sampling, scale = build_sampling(section, options)
    check_guidance(scale, loaded.module, "guidance.scale")
    check_sampler(sampling, loaded.module, "")
    sampling.grid(sampling.steps, sampling.path or loaded.module.path)  # refuses a grid that does not fit them
    n, seed, batch_size, device = options.num_samples, options.seed, options.batch_size, choose_device(options.device)
    subject = Subject(
        loaded.module, loaded.data(), sampling, scale, n=n, seed=seed, batch_size=batch_size, device=device
    )
    with Console(stderr=True).status("diagnosing") as status:
        diagnosis = diagnose(
            subject, layout, section.get("features", "auto"), lambda part: status.update(f"measuring {part}")
        )
    checkpoint = {"which": options.checkpoint, "step": loaded.origin.step, "weights": options.weights}
    print(describe_subject(layout, subject, checkpoint), end="\n\n")
    print(write_report(diagnosis), end="\n\n")
    print(textwrap.fill(diagnosis.verdict.text, 100), end="\n\n")
    for kind, file in write_files(diagnosis, subject, layout, checkpoint).items():
        print(f"{kind:10} {file}")
    print(f"{'took':10} {time.perf_counter() - began:.0f} s")
    return 0


def choose_device(name: str | None) -> torch.device:
    """The device of that name; a GPU if there is one.

    Raises:
        UserError: If there is none of that name.
    """
    import torch

    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"there is no device {name!r}", key="device", hint="cpu, cuda, cuda:1, mps") from error


def sampler_section(layout: RunLayout) -> dict[str, Any]:
    """The section of a run's configuration that says how it samples: `fid`, else `samples`, else as `fid` would.

    Raises:
        UserError: If the configuration cannot be read.
    """
    import yaml

    try:
        config = yaml.safe_load(layout.config.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        cause = " ".join(str(error).split())
        raise UserError(f"cannot be read: {cause[:120]}", key=str(layout.config)) from error
    config = config if isinstance(config, dict) else {}
    for name, defaults in SECTIONS.items():
        if isinstance(config.get(name), dict):
            return {**defaults, **config[name]}
    return dict(SECTIONS["fid"])


def build_sampling(section: dict[str, Any], options: DiagnoseOptions) -> tuple[Sampling, float]:
    """Builds the sampler and chooses its guidance scale; what no option names is the run's own.

    Args:
        section: As `sampler_section` gives it.
        options: The options.

    Raises:
        UserError: If there is no such part, or an argument does not fit.
    """
    from fmlab.fields import Sampling
    from fmlab.paths import GaussianPath
    from fmlab.solvers import Grid, Solver

    solver = _build_part("solver", options.solver, section.get("solver"), Solver)
    grid = _build_part("grid", options.grid, section.get("grid") or "UniformGrid", Grid)
    path = _build_part("path", options.path, section.get("path"), GaussianPath)
    scales = section.get("guidance_scales") or [section.get("guidance_scale", 1.0)]
    scale = scales[0] if options.guidance.scale is None else options.guidance.scale
    return Sampling(solver, options.steps or section["steps"], grid, path), float(scale)


def _build_part(name: str, option: Component, own: Any, base: type) -> Any:
    """A part of the sampler: the option's class, else the run's own with the option's arguments laid over it."""
    from fmlab.config.merge import ARGS, CLASS
    from fmlab.config.parts import build_component

    if option.name is None and own is None:
        if option.arguments:
            raise UserError(f"no {name} takes this argument", key=f"{name}.{next(iter(option.arguments))}")
        return None
    if option.name is None:
        own = own if isinstance(own, dict) else {CLASS: own}
        option = Component(own[CLASS], {**(own.get(ARGS) or {}), **option.arguments})
    return build_component(name, option, base)
