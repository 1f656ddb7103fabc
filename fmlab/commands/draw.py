"""`fmlab draw FIGURE`: reads what is drawn, and hands it to the figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fmlab.commands.draw_parsers import numbers, words
from fmlab.commands.draw_subject import plane_scene, read_subject
from fmlab.config.parts import Parts, part
from fmlab.config.values import read_value
from fmlab.errors import UserError
from fmlab.figures import (
    ImageScene,
    Process,
    Scene,
    check_suffix,
    choose_starts,
    draw_simulation,
    field_panels,
    flow_panels,
    path_panels,
    save_figure,
    simulate,
)
from fmlab.figures.canvas import is_film
from fmlab.figures.convergence import Case, SceneCase, draw_convergence
from fmlab.figures.theory import choose_rows, draw_images, draw_rows, draw_trajectories, frame_times
from fmlab.paths import gaussian_path
from fmlab.solvers import ConstantDiffusion, Grid, Solver

USUAL_DIFFUSIONS = "0.5,1"


def run_path(options: argparse.Namespace, parts: Parts) -> int:
    """Draws the conditional and the marginal path, or images on their way."""
    file, times, subject = _check(options), _times(options), read_subject(options, parts)
    print(subject.describe())
    if isinstance(subject, ImageScene):
        if options.rows is not None:
            raise UserError("of images only their conditional paths are drawn", key="rows", hint="leave it out")
        return _conclude(file, draw_images(subject, times, options.n or 4, file))
    rows = choose_rows(_rows(options), subject, ("conditional", "marginal"), ("conditional", "marginal"))
    return _conclude(file, draw_rows("path", subject, path_panels(subject, rows, times, options.n or 300), times, file))


def run_field(options: argparse.Namespace, parts: Parts) -> int:
    """Draws vector fields: conditional, marginal and learned."""
    file, times, scene = _check(options), _times(options), _guided_scene(options, parts, "field")
    rows = choose_rows(_rows(options), scene, ("conditional", "marginal", "learned"))
    print(scene.describe())
    panels = field_panels(scene, rows, times, streams=options.style == "streams")
    return _conclude(file, draw_rows("field", scene, panels, times, file))


def run_flow(options: argparse.Namespace, parts: Parts) -> int:
    """Draws the flow map: a mesh and points carried along."""
    file = _check(options)
    solver, grid = part("solver", options.solver, Solver, parts), part("grid", options.grid, Grid, parts)
    if solver.stochastic:
        raise UserError(f"{options.solver} adds noise, and a flow has none", key="solver", hint="use Heun, RK4, ...")
    times, scene = _times(options), _guided_scene(options, parts, "flow")
    rows = choose_rows(_rows(options), scene, ("marginal", "learned"))
    print(scene.describe())
    panels = flow_panels(scene, rows, times, options.n, solver, grid, options.steps)
    return _conclude(file, draw_rows("flow", scene, panels, times, file))


def run_trajectories(options: argparse.Namespace, parts: Parts) -> int:
    """Draws trajectories of the ODE and of SDEs, or the ODE's of several guidance scales."""
    file = _check(options)
    ode, grid = part("solver", options.solver, Solver, parts), part("grid", options.grid, Grid, parts)
    if ode.stochastic:
        hint = "--solver is the ODE's; --sde and --diffusion are the SDEs'"
        raise UserError(f"{options.solver} follows SDEs", key="solver", hint=hint)
    scales, scene = _scales(options), plane_scene(options, parts, "trajectories")
    usual = ("conditional", "marginal") if scene.learned is None and scene.label is None else ("marginal", "learned")
    rows = choose_rows(_rows(options), scene, usual)
    columns = _columns(options, parts, scene, ode, scales, rows)
    print(scene.describe())
    return _conclude(file, draw_trajectories(columns, rows, options.frames, options.n, grid, options.steps, file))


def run_solvers(options: argparse.Namespace, parts: Parts) -> int:
    """Draws the error of solvers on the exact field against evaluations, and prints it."""
    file = _check(options)
    budgets = numbers(options.nfe, "nfe", int, "--nfe 8,16,32")
    if any(budget < 1 for budget in budgets):
        raise UserError(f"a budget is at least one evaluation, got {options.nfe}", key="nfe")
    grid = part("grid", options.grid, Grid, parts)
    solvers = {word: _ode_solver(word) for word in words(options.solver, "solver")}
    scene = plane_scene(options, parts, "solvers")
    case: Case = SceneCase(scene, gaussian_path(scene.path, "a converged solution"), options.n)
    print(scene.describe())
    curves = {name: case.measure_curve(budgets, solver, grid) for name, solver in solvers.items()}
    for name, curve in curves.items():
        slope = "" if curve.order is None else f", slope {curve.order:.2f}"
        print(f"{name:12} {', '.join(f'{solve.error:.1e} ({solve.nfe})' for solve in curve.solves)}{slope}")
    save_figure(draw_convergence(curves, sorted(budgets), case.resolution), file)
    return _conclude(file, 1)


def run_process(options: argparse.Namespace, parts: Parts) -> int:
    """Draws paths of a process, and compares their ends with the exact law."""
    file = _check(options)
    if not 0 < options.until < float("inf"):
        raise UserError(f"the last time is positive and finite, got {options.until}", key="until")
    process: Process = part("process", options.process, Process, parts)
    solver: Solver = part("solver", options.solver, Solver, parts)
    start = None if options.start is None else read_value(options.start)
    starts = choose_starts(start, process, options.n, options.seed)
    times = torch.linspace(0, options.until, options.steps + 1, dtype=torch.float64)
    simulation = simulate(process, solver, starts, times, options.n, options.seed)
    save_figure(draw_simulation(simulation, options.n), file)
    print(simulation.describe())
    return _conclude(file, 1)


def _check(options: argparse.Namespace) -> Path:
    """Refuses numbers out of range and files that cannot be written, and returns the file."""
    file = Path(options.out)
    check_suffix(file, moving=hasattr(options, "frames"))
    for name, least in (("n", 1), ("steps", 1), ("frames", 2)):
        value = getattr(options, name, None)
        if value is not None and value < least:
            raise UserError(f"at least {least}, got {value}", key=name)
    return file


def _conclude(file: Path, frames: int) -> int:
    print(f"figure     {file}" + (f", {frames} frames" if is_film(file) else ""))
    return 0


def _times(options: argparse.Namespace) -> torch.Tensor:
    return frame_times(numbers(options.times, "times", float, "--times 0,0.5,1"), options.frames, Path(options.out))


def _rows(options: argparse.Namespace) -> list[str] | None:
    return None if options.rows is None else words(options.rows, "rows")


def _scales(options: argparse.Namespace) -> list[float]:
    return numbers(options.guidance_scale, "guidance.scale", float, "--guidance.scale 2, or --guidance.scale 1,2,4")


def _guided_scene(options: argparse.Namespace, parts: Parts, figure: str) -> Scene:
    scales = _scales(options)
    if len(scales) > 1:
        hint = "several scales stand side by side in fmlab draw trajectories"
        raise UserError("one scale", key="guidance.scale", hint=hint)
    return replace(plane_scene(options, parts, figure), guidance_scale=scales[0])


def _ode_solver(word: str) -> Solver:
    solver: Solver = part("solver", word, Solver, {"solver": {}})
    if solver.stochastic:
        hint = "fmlab evaluate measures such solvers by their samples"
        raise UserError(f"{word} draws noise: its end has no converged counterpart", key="solver", hint=hint)
    return solver


def _columns(
    options: argparse.Namespace,
    parts: Parts,
    scene: Scene,
    ode: Solver,
    scales: Sequence[float],
    rows: Sequence[str],
) -> dict[str, tuple[Scene, Solver]]:
    """The ODE and the SDEs; of several guidance scales the ODE of each.

    Raises:
        UserError: If SDEs of several scales are asked for, or there is no such diffusion.
    """
    if len(scales) > 1:
        if options.diffusion is not None and options.diffusion != "none":
            raise UserError("of several guidance scales the ODEs are drawn", key="diffusion", hint="leave it out")
        return {f"$w={scale:g}$": (replace(scene, guidance_scale=scale), ode) for scale in scales}
    scene = replace(scene, guidance_scale=scales[0])
    columns: dict[str, tuple[Scene, Solver]] = {"ODE": (scene, ode)}
    diffusions = options.diffusion or (USUAL_DIFFUSIONS if scene.knows_score(rows) else "none")
    for word in words(diffusions, "diffusion") if diffusions != "none" else []:
        sde = _sde(options.sde, parts, word)
        coefficient: Any = getattr(sde, "diffusion", None)
        constant = isinstance(coefficient, ConstantDiffusion)
        columns[f"SDE, $\\sigma={coefficient.scale:g}$" if constant else f"SDE, {word}"] = (scene, sde)
    return columns


def _sde(name: str, parts: Parts, diffusion: str) -> Solver:
    """The SDEs' solver with a diffusion coefficient."""
    arguments = {"sde": {**parts["sde"], "diffusion": read_value(diffusion)}}
    try:
        solver: Solver = part("sde", name, Solver, arguments)
    except UserError as error:
        # Its own key is that of an argument of the coefficient, which nobody typed.
        key = error.key if error.key and error.key.startswith("sde") else "diffusion"
        raise UserError(error.message, key=key, hint=error.hint) from error
    return solver
