"""`fmlab draw FIGURE`: pictures of the theory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fmlab.commands.draw_options import (
    FILM_SUFFIX,
    FieldOptions,
    FlowOptions,
    PathOptions,
    ProcessOptions,
    SolversOptions,
    SubjectOptions,
    TrajectoriesOptions,
)
from fmlab.commands.shared import check_run
from fmlab.config.options import Component
from fmlab.config.parts import build_component
from fmlab.config.prepare import make_section, prepare
from fmlab.config.values import read_value
from fmlab.errors import UserError
from fmlab.records import find_run

if TYPE_CHECKING:
    from fmlab.figures import ImageScene, Scene
    from fmlab.solvers import Solver


def draw_path(options: PathOptions) -> int:
    """Draws the conditional and the marginal path, or images on their way."""
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
    from fmlab.figures import field_panels, theory

    times = theory.frame_times(options.times, options.frames, options.out)
    scene = replace(read_scene(options, "field"), guidance_scale=options.guidance_scale)
    rows = theory.choose_rows(options.rows, scene, theory.ROWS)
    print(scene.describe())
    panels = field_panels(scene, rows, times, streams=options.style == "streams")
    return _conclude(options, theory.draw_rows("field", scene, panels, times, options.out))


def draw_flow(options: FlowOptions) -> int:
    """Draws the flow map: a mesh and samples carried along."""
    from fmlab.figures import flow_panels, theory
    from fmlab.solvers import Grid

    times = theory.frame_times(options.times, options.frames, options.out)
    solver, grid = build_ode_solver(options.solver), build_component("grid", options.grid, Grid)
    scene = replace(read_scene(options, "flow"), guidance_scale=options.guidance_scale)
    rows = theory.choose_rows(options.rows, scene, theory.ROWS[1:])
    print(scene.describe())
    panels = flow_panels(scene, rows, times, options.num_samples, solver, grid, options.steps)
    return _conclude(options, theory.draw_rows("flow", scene, panels, times, options.out))


def draw_trajectories(options: TrajectoriesOptions) -> int:
    """Draws trajectories of the ODE and of SDEs, or the ODE's of several guidance scales."""
    from fmlab.figures import theory
    from fmlab.solvers import Grid

    solver, grid = build_ode_solver(options.solver), build_component("grid", options.grid, Grid)
    scene = read_scene(options, "trajectories")
    usual = theory.ROWS[:2] if scene.learned is None and scene.label is None else theory.ROWS[1:]
    rows = theory.choose_rows(options.rows, scene, usual)
    columns = build_columns(options, scene, solver, rows)
    print(scene.describe())
    n, frames, steps = options.num_samples, options.frames, options.steps
    return _conclude(options, theory.draw_trajectories(columns, rows, frames, n, grid, steps, options.out))


def draw_solvers(options: SolversOptions) -> int:
    """Draws the error of solvers on the exact field against evaluations, and prints it."""
    from fmlab.figures import save_figure
    from fmlab.figures.convergence import SceneCase, draw_convergence
    from fmlab.solvers import Grid

    grid: Grid = build_component("grid", options.grid, Grid)
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


def read_scene(options: SubjectOptions, figure: str) -> Scene:
    """Makes the scene that the options name.

    Raises:
        UserError: If there is none, or it is of images.
    """
    from fmlab.figures import ImageScene

    subject = read_subject(options)
    if isinstance(subject, ImageScene):
        cause = f"{type(subject.data).__name__} has images, and {figure} is drawn of points on the plane"
        raise UserError(cause, key=f"draw {figure}", hint="of images fmlab draw path shows the path")
    return subject


def read_subject(options: SubjectOptions) -> Scene | ImageScene:
    """Makes what the options name: of a run, of a configuration with options over its files, or of parts.

    Raises:
        UserError: If run, file or options do not make a path between two laws.
    """
    if options.run is not None:
        check_run(options.run, options.checkpoint)
    import torch

    from fmlab.figures import ImageScene
    from fmlab.inference.load import load_module
    from fmlab.inference.scene import module_scene, parts_scene

    label, z = getattr(options, "label", None), getattr(options, "z", None)
    if options.run is not None:
        loaded = load_module(find_run(options.run), options.checkpoint, options.weights)
        if label is not None and getattr(loaded.module, "num_classes", None) is None:
            raise UserError("this model was trained without labels", key="label", hint="leave it out")
        subject = module_scene(loaded.module, loaded.data(), trained=True)
    elif options.config:
        prepared = prepare(_configuration(options))
        subject = module_scene(make_section("model", prepared.config["model"]), prepared.data, trained=False)
    else:
        subject = parts_scene(options.data, options.path, options.source, options.coupling)
    if isinstance(subject, ImageScene):
        return replace(subject, seed=options.seed)
    point = None if z is None else torch.tensor(z, dtype=torch.float64)
    return replace(subject, label=label, z=point, seed=options.seed)


def build_ode_solver(component: Component) -> Solver:
    """Builds a solver of the ODE.

    Raises:
        UserError: If it adds noise.
    """
    from fmlab.solvers import Solver

    solver: Solver = build_component("solver", component, Solver)
    if solver.stochastic:
        cause = f"{component.name} adds noise, and this figure needs a solver of the ODE"
        raise UserError(cause, key="solver", hint="use Heun, RK4, ...; fmlab draw trajectories --sde draws SDEs")
    return solver


def build_columns(
    options: TrajectoriesOptions, scene: Scene, ode: Solver, rows: Sequence[str]
) -> dict[str, tuple[Scene, Solver]]:
    """Builds the columns of trajectories: the ODE and the SDEs, or of several guidance scales the ODE of each.

    Raises:
        UserError: If SDEs of several scales are asked for, or there is no such diffusion.
    """
    from fmlab.solvers import ConstantDiffusion

    scales, diffusions = options.guidance_scale, options.diffusion
    if len(scales) > 1:
        if diffusions not in ((), ("none",)):
            raise UserError("of several guidance scales the ODEs are drawn", key="diffusion", hint="leave it out")
        return {f"$w={scale:g}$": (replace(scene, guidance_scale=scale), ode) for scale in scales}
    scene = replace(scene, guidance_scale=scales[0])
    columns: dict[str, tuple[Scene, Solver]] = {"ODE": (scene, ode)}
    usual = ("0.5", "1") if scene.knows_score(rows) else ()
    for name in () if diffusions == ("none",) else diffusions or usual:
        sde = _build_sde_solver(options.sde, name)
        coefficient: Any = getattr(sde, "diffusion", None)
        constant = isinstance(coefficient, ConstantDiffusion)
        columns[f"SDE, $\\sigma={coefficient.scale:g}$" if constant else f"SDE, {name}"] = (scene, sde)
    return columns


def _build_sde_solver(component: Component, diffusion: str) -> Solver:
    """Builds the SDEs' solver with a diffusion coefficient: a number, or a class."""
    from fmlab.solvers import Solver

    arguments = {**component.arguments, "diffusion": read_value(diffusion)}
    try:
        solver: Solver = build_component("sde", Component(component.name, arguments), Solver)
    except UserError as error:
        # Its own key is that of an argument of the coefficient, which nobody typed.
        key = error.key if error.key and error.key.startswith("sde") else "diffusion"
        raise UserError(error.message, key=key, hint=error.hint) from error
    return solver


def _configuration(options: SubjectOptions) -> list[str]:
    """The files of a configuration, and what options say of its data, path, source and coupling."""
    from fmlab.distributions import SHAPES_2D

    argv = [word for file in options.config for word in ("--config", file)]
    shapes = {law.__name__: shape for shape, law in SHAPES_2D.items()} | {shape: shape for shape in SHAPES_2D}
    for key in ("data", "model.path", "model.source", "model.coupling"):
        component: Component = getattr(options, key.rpartition(".")[2])
        if key == "data" and component.name in shapes:
            argv += ["--data=Toy2D", f"--data.name={shapes[component.name]}"]
        elif component.name is not None:
            argv.append(f"--{key}={component.name}")
        argv += [f"--{key}.{argument}={value}" for argument, value in component.arguments.items()]
    return argv


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
