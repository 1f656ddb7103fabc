"""`fmlab draw FIGURE`: pictures of the theory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt

from fmlab.commands.draw_options import (
    FILM_SUFFIX,
    FollowedOptions,
    GuidanceScale,
    SubjectOptions,
    TimesOptions,
    TrajectoriesOptions,
    check_out,
)
from fmlab.commands.shared import Count, Finite
from fmlab.config.options import Component
from fmlab.errors import UserError


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
    """

    times: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.95)
    style: Literal["arrows", "streams"] = "arrows"
    guidance: GuidanceScale = field(default_factory=GuidanceScale)
    out: Path = Path("field.png")


@dataclass(frozen=True, kw_only=True)
class FlowOptions(TimesOptions, FollowedOptions):
    """Draws a mesh and samples carried along by the flow map.

      fmlab draw flow --data Checkerboard --steps 50 --out flow.gif

    Args:
        num_samples: Samples that are carried along beside the mesh.
    """

    num_samples: Count = 400
    guidance: GuidanceScale = field(default_factory=GuidanceScale)
    out: Path = Path("flow.png")


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


def draw_path(options: PathOptions) -> int:
    """Draws the conditional and the marginal path, or images on their way."""
    from fmlab.commands.draw_subject import read_subject
    from fmlab.figures import ImageScene, path_panels, theory

    times, subject = theory.frame_times(options.times, options.frames, options.out), read_subject(options)
    if isinstance(subject, ImageScene):
        if options.rows is not None:
            raise UserError("of images only their conditional paths are drawn", key="rows", hint="leave it out")
        print(subject.describe())
        return _conclude(options, theory.draw_images(subject, times, options.num_samples or 4, options.out))
    rows = theory.choose_rows(options.rows, subject, theory.ROWS[:2], theory.ROWS[:2])
    print(subject.describe())
    panels = path_panels(subject, rows, times, options.num_samples or 300)
    return _conclude(options, theory.draw_rows("path", subject, panels, times, options.out))


def draw_field(options: FieldOptions) -> int:
    """Draws vector fields: conditional, marginal and learned."""
    from fmlab.commands.draw_subject import read_scene
    from fmlab.figures import field_panels, theory

    times = theory.frame_times(options.times, options.frames, options.out)
    scene = replace(read_scene(options, "field"), guidance_scale=options.guidance.scale)
    rows = theory.choose_rows(options.rows, scene, theory.ROWS)
    print(scene.describe())
    panels = field_panels(scene, rows, times, streams=options.style == "streams")
    return _conclude(options, theory.draw_rows("field", scene, panels, times, options.out))


def draw_flow(options: FlowOptions) -> int:
    """Draws the flow map: a mesh and samples carried along."""
    from fmlab.commands.draw_subject import build_grid, build_ode_solver, read_scene
    from fmlab.figures import flow_panels, theory

    times = theory.frame_times(options.times, options.frames, options.out)
    solver, grid = build_ode_solver(options.solver), build_grid(options.grid)
    scene = replace(read_scene(options, "flow"), guidance_scale=options.guidance.scale)
    rows = theory.choose_rows(options.rows, scene, theory.ROWS[1:])
    print(scene.describe())
    panels = flow_panels(scene, rows, times, options.num_samples, solver, grid, options.steps)
    return _conclude(options, theory.draw_rows("flow", scene, panels, times, options.out))


def draw_trajectories(options: TrajectoriesOptions) -> int:
    """Draws trajectories of the ODE and of SDEs, or the ODE's of several guidance scales."""
    from fmlab.commands.draw_subject import build_columns, build_grid, build_ode_solver, read_scene
    from fmlab.figures import theory

    solver, grid, scene = (
        build_ode_solver(options.solver),
        build_grid(options.grid),
        read_scene(options, "trajectories"),
    )
    usual = theory.ROWS[:2] if scene.learned is None and scene.label is None else theory.ROWS[1:]
    rows = theory.choose_rows(options.rows, scene, usual)
    columns = build_columns(options, scene, solver, rows)
    print(scene.describe())
    n, frames, steps = options.num_samples, options.frames, options.steps
    return _conclude(options, theory.draw_trajectories(columns, rows, frames, n, grid, steps, options.out))


def draw_solvers(options: SolversOptions) -> int:
    """Draws the error of solvers on the exact field against evaluations, and prints it."""
    from fmlab.commands.draw_subject import build_grid, build_ode_solver, read_scene
    from fmlab.figures import save_figure
    from fmlab.figures.convergence import SceneCase, draw_convergence

    grid = build_grid(options.grid)
    solvers = {name: build_ode_solver(Component(name)) for name in options.solver}
    scene = read_scene(options, "solvers")
    case = SceneCase(scene, options.num_samples)
    print(scene.describe())
    curves = {name: case.measure_curve(options.nfe, solver, grid) for name, solver in solvers.items()}
    for name, curve in curves.items():
        slope = "" if curve.order is None else f", slope {curve.order:.2f}"
        print(f"{name:12} {', '.join(f'{solve.error:.1e} ({solve.nfe})' for solve in curve.solves)}{slope}")
    save_figure(draw_convergence(curves, sorted(options.nfe), case.resolution), options.out)
    return _conclude(options)


def draw_process(options: ProcessOptions) -> int:
    """Draws paths of a process, and compares their ends with the exact law."""
    from fmlab.config.parts import build_component
    from fmlab.config.values import read_value
    from fmlab.figures import Process, choose_starts, draw_simulation, save_figure, simulate
    from fmlab.solvers import Solver

    process: Process = build_component("process", options.process, Process)
    solver: Solver = build_component("solver", options.solver, Solver)
    start = None if options.start is None else read_value(options.start)
    starts = choose_starts(start, process, options.num_samples, options.seed)
    simulation = simulate(process, solver, starts, options.until, options.steps, options.num_samples, options.seed)
    save_figure(draw_simulation(simulation, options.num_samples), options.out)
    print(simulation.describe())
    return _conclude(options)


def _conclude(options: SubjectOptions | ProcessOptions, frames: int = 1) -> int:
    is_film = options.out.suffix.lower() == FILM_SUFFIX
    print(f"figure     {options.out}" + (f", {frames} frames" if is_film else ""))
    return 0


SUB_VERBS = {
    "path": draw_path,
    "field": draw_field,
    "flow": draw_flow,
    "trajectories": draw_trajectories,
    "process": draw_process,
    "solvers": draw_solvers,
}
