"""The options of the figures of `fmlab draw`: what is drawn, when, and how a field is followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from fmlab.commands.shared import Count, Finite, Weights
from fmlab.config.options import Component, Named, Positional, Repeated
from fmlab.errors import UserError

STILL_SUFFIXES, FILM_SUFFIX = (".png", ".pdf", ".svg"), ".gif"


@dataclass(frozen=True, kw_only=True)
class SubjectOptions:
    """What is drawn: a finished RUN, an experiment file, or what options name.

    Args:
        run: A run's folder, its id, or an experiment's name (its newest run): its network beside the exact field.
        config: An experiment file, drawn without training; several merge.
        data: A distribution (fmlab list distributions), a shape of Toy2D such as mixture, or a data set
            (Checkerboard if left out); --data.NAME VALUE gives an argument.
        path: The probability path, see fmlab list paths (CondOT if left out); --path.NAME VALUE likewise.
        source: The distribution at t = 0; standard normal noise if left out.
        coupling: Which sample of the source goes with which data, see fmlab list couplings; independent if left out.
        checkpoint: Of a RUN: best, last or a file.
        weights: Of a RUN: the averaged weights, or those of the last step.
        seed: The seed of all samples.
        out: The picture: .png, .pdf or .svg, or .gif where something moves.
    """

    run: Annotated[str | None, Positional()] = None
    config: Annotated[tuple[str, ...], Repeated()] = ()
    data: Component = Component()
    path: Component = Component()
    source: Component = Component()
    coupling: Component = Component()
    checkpoint: str = "best"
    weights: Weights = "averaged"
    seed: int = 0
    out: Path

    def __post_init__(self) -> None:
        check_out(self.out, moving=isinstance(self, MovingOptions))
        if self.run is not None and self.config:
            raise UserError("a RUN has its own configuration", key="config", hint="leave one of them out")
        for name in ("data", "path", "source", "coupling"):
            if self.run is not None and getattr(self, name) != Component():
                raise UserError(f"a run has its own {name}", key=name, hint="leave it out, or draw --config FILE")


@dataclass(frozen=True, kw_only=True)
class MovingOptions(SubjectOptions):
    """What is drawn over time.

    Args:
        rows: Of conditional, marginal, learned; all that the figure usually shows if left out.
        z: The data point that conditional quantities are given, such as 1.5,0.5; sampled if left out.
        label: The class, of data that have classes.
        frames: Frames of a GIF.
    """

    rows: tuple[str, ...] | None = None
    z: tuple[Finite, Finite] | None = None
    label: int | None = None
    frames: Annotated[int, Ge(2)] = 40


@dataclass(frozen=True, kw_only=True)
class TimesOptions(MovingOptions):
    """What is drawn at some times.

    Args:
        times: The times that are drawn; a GIF goes from the first to the last.
    """

    times: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class FollowedOptions(MovingOptions):
    """How a field is followed.

    Args:
        solver: The ODE's solver, see fmlab list solvers; --solver.NAME VALUE gives an argument.
        grid: Where the steps lie, see fmlab list grids; --grid.NAME VALUE likewise.
        steps: Solver steps.
    """

    solver: Component = Component("Heun")
    grid: Component = Component("UniformGrid")
    steps: Count = 50


@dataclass(frozen=True, kw_only=True)
class PathOptions(TimesOptions):
    """Draws conditional and marginal probability paths, or images on their way from noise.

      fmlab draw path --data Checkerboard --path VP --times 0,0.5,1
      fmlab draw path --data Digits

    Args:
        num_samples: Points that are drawn (300 if left out), or images (4).
    """

    num_samples: Count | None = None
    out: Path = Path("path.png")


@dataclass(frozen=True, kw_only=True)
class FieldOptions(TimesOptions):
    """Draws conditional, marginal and learned vector fields.

      fmlab draw field --data Moons --style streams
      fmlab draw field toy2d --times 0.25,0.5,0.75

    Args:
        style: Arrows or stream lines.
        guidance_scale: The guidance scale w, with --label: 0 is unconditional, 1 conditional, more than 1 guided.
    """

    times: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.95)
    style: Literal["arrows", "streams"] = "arrows"
    guidance_scale: Annotated[Finite, Named("guidance.scale")] = 1.0
    out: Path = Path("field.png")


@dataclass(frozen=True, kw_only=True)
class FlowOptions(TimesOptions, FollowedOptions):
    """Draws a mesh and samples carried along by the flow map.

      fmlab draw flow --data Checkerboard --steps 50 --out flow.gif

    Args:
        num_samples: Samples that are carried along beside the mesh.
        guidance_scale: The guidance scale w, with --label: 0 is unconditional, 1 conditional, more than 1 guided.
    """

    num_samples: Count = 400
    guidance_scale: Annotated[Finite, Named("guidance.scale")] = 1.0
    out: Path = Path("flow.png")


@dataclass(frozen=True, kw_only=True)
class TrajectoriesOptions(FollowedOptions):
    """Draws ODE and SDE trajectories side by side.

      fmlab draw trajectories --data mixture --diffusion 0.5,1 --num_samples 40

    Args:
        num_samples: How many trajectories.
        sde: The SDEs' solver; --sde.NAME VALUE likewise.
        diffusion: Diffusion coefficients of the SDEs, one panel each: numbers, or classes (fmlab list diffusions);
            none for the ODE alone. 0.5,1 if left out, where the score is known.
        guidance_scale: Guidance scales w, with --label; several give one panel each.
    """

    num_samples: Count = 40
    steps: Count = 200
    sde: Component = Component("EulerMaruyama")
    diffusion: tuple[str, ...] = ()
    guidance_scale: Annotated[tuple[Finite, ...], Named("guidance.scale")] = (1.0,)
    out: Path = Path("trajectories.png")


@dataclass(frozen=True, kw_only=True)
class SolversOptions(SubjectOptions):
    """Draws the error of solvers against evaluations, on the exact field.

      fmlab draw solvers --data mixture --solver Euler,Heun,RK4

    Args:
        solver: ODE solvers, see fmlab list solvers.
        grid: Where the steps lie, see fmlab list grids; --grid.NAME VALUE gives an argument.
        nfe: Budgets of field evaluations.
        num_samples: How many samples the error is a mean over.
    """

    solver: tuple[str, ...] = ("Euler", "Midpoint", "Heun", "RK3", "RK4", "AB2", "AB4", "Dopri5")
    grid: Component = Component("UniformGrid")
    nfe: tuple[Count, ...] = (8, 16, 32, 64, 128, 256)
    num_samples: Count = 256
    out: Path = Path("solvers.png")


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """Draws sample paths of a process against its exact law.

      fmlab draw process --process OrnsteinUhlenbeck --process.theta 1 --until 5 --num_samples 20

    Args:
        process: The process, see fmlab list processes; --process.NAME VALUE gives an argument.
        solver: The solver, see fmlab list solvers; --solver.NAME VALUE likewise.
        steps: Solver steps.
        until: The last time; the first is 0.
        num_samples: How many paths are drawn.
        start: X_0: a number, one point as [1,0], or several as [-2,2] in one dimension and [[1,0],[0,1]] in two, in
            turn. 0 if left out; for an ODE, samples of N(0, I).
        seed: The seed of all noise.
        out: The picture, .png, .pdf or .svg.
    """

    process: Component
    solver: Component = Component("EulerMaruyama")
    steps: Count = 200
    until: Annotated[Finite, Gt(0)] = 5.0
    num_samples: Count = 20
    start: str | None = None
    seed: int = 0
    out: Path = Path("process.png")

    def __post_init__(self) -> None:
        check_out(self.out, moving=False)


def check_out(file: Path, *, moving: bool) -> None:
    """Refuses a file that no figure can be written to.

    Args:
        file: The file.
        moving: Whether there is motion to show.

    Raises:
        UserError: If its suffix is none of those that can be written.
    """
    suffix = file.suffix.lower()
    if suffix == FILM_SUFFIX and not moving:
        raise UserError(f"{file}: nothing moves in this figure", key="out", hint="write .png, .pdf or .svg")
    if suffix not in (*STILL_SUFFIXES, FILM_SUFFIX):
        hint = "write .png, .pdf or .svg" + (", or .gif for motion" if moving else "")
        raise UserError(f"no figure can be written to {file}", key="out", hint=hint)
