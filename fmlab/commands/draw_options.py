"""Options that several figures of `fmlab draw` have: the subject, its times, and how a field is followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from fmlab.commands.shared import Count, Finite, Weights
from fmlab.config.options import Component, Positional, Repeated
from fmlab.errors import UserError

STILL_SUFFIXES, FILM_SUFFIX = (".png", ".pdf", ".svg"), ".gif"


@dataclass(frozen=True)
class GuidanceScale:
    """How a field is guided.

    Args:
        scale: The guidance scale w, with --label: 0 is unconditional, 1 conditional, more than 1 guided.
    """

    scale: Finite = 1.0


@dataclass(frozen=True)
class GuidanceScales:
    """How fields are guided.

    Args:
        scale: Guidance scales w, with --label; several give one panel each.
    """

    scale: tuple[Finite, ...] = (1.0,)


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
        if self.source.name is None and self.source.arguments and not self.config:
            argument = f"source.{next(iter(self.source.arguments))}"
            raise UserError("no source takes this argument", key=argument, hint="add --source Circles")


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


@dataclass(frozen=True, kw_only=True)
class TrajectoriesOptions(FollowedOptions):
    """Draws ODE and SDE trajectories side by side.

      fmlab draw trajectories --data mixture --diffusion 0.5,1 --num_samples 40

    Args:
        num_samples: How many trajectories.
        sde: The SDEs' solver; --sde.NAME VALUE likewise.
        diffusion: Diffusion coefficients of the SDEs, one panel each: numbers, or classes (fmlab list diffusions);
            none for the ODE alone. 0.5,1 if left out, where the score is known.
    """

    num_samples: Count = 40
    steps: Count = 200
    sde: Component = Component("EulerMaruyama")
    diffusion: tuple[str, ...] = ()
    guidance: GuidanceScales = field(default_factory=GuidanceScales)
    out: Path = Path("trajectories.png")
