"""The subject of `fmlab draw`: a scene on the plane, or images, from a run, a configuration or options; its solvers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from fmlab.commands.draw_options import MovingOptions, SubjectOptions, TrajectoriesOptions
from fmlab.commands.shared import check_run
from fmlab.config.catalog import of_kind
from fmlab.config.options import Component
from fmlab.config.parts import build_component
from fmlab.config.prepare import make_section, prepare
from fmlab.config.values import read_value
from fmlab.distributions import SHAPES_2D, Distribution, Empirical, shape_2d
from fmlab.errors import UserError, nearest
from fmlab.figures import ImageScene, Scene
from fmlab.inference.load import load_module
from fmlab.objectives import Coupling
from fmlab.paths import GaussianPath, Interpolant, ProbabilityPath
from fmlab.records import find_run
from fmlab.solvers import ConstantDiffusion, Grid, Solver
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.sources import DataSource, DistributionSource, NoiseSource


def read_scene(options: SubjectOptions, figure: str) -> Scene:
    """Makes the scene that the options name.

    Raises:
        UserError: If there is none, or it is of images.
    """
    subject = read_subject(options)
    if isinstance(subject, ImageScene):
        cause = f"{type(subject.data).__name__} has images, and {figure} is drawn of points on the plane"
        raise UserError(cause, key=f"draw {figure}", hint="of images fmlab draw path shows the path")
    return subject


def read_subject(options: SubjectOptions) -> Scene | ImageScene:
    """Makes what the options name.

    Raises:
        UserError: If run, file or options do not make a path between two laws.
    """
    if options.run is not None:
        check_run(options.run, options.checkpoint)
        loaded = load_module(find_run(options.run), options.checkpoint, options.weights)
        return _of_module(options, loaded.module, loaded.data(), trained=True)
    return _of_config(options) if options.config else _of_options(options)


def build_ode_solver(component: Component) -> Solver:
    """Builds a solver of the ODE.

    Raises:
        UserError: If it adds noise.
    """
    solver: Solver = build_component("solver", component, Solver)
    if solver.stochastic:
        cause = f"{component.name} adds noise, and this figure needs a solver of the ODE"
        raise UserError(cause, key="solver", hint="use Heun, RK4, ...; fmlab draw trajectories --sde draws SDEs")
    return solver


def build_grid(component: Component) -> Grid:
    """Builds the grid of a solve."""
    grid: Grid = build_component("grid", component, Grid)
    return grid


def build_columns(
    options: TrajectoriesOptions, scene: Scene, ode: Solver, rows: Sequence[str]
) -> dict[str, tuple[Scene, Solver]]:
    """Builds the columns of trajectories: the ODE and the SDEs, or of several guidance scales the ODE of each.

    Raises:
        UserError: If SDEs of several scales are asked for, or there is no such diffusion.
    """
    scales, diffusions = options.guidance.scale, options.diffusion
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
    arguments = {**component.arguments, "diffusion": read_value(diffusion)}
    try:
        solver: Solver = build_component("sde", Component(component.name, arguments), Solver)
    except UserError as error:
        # Its own key is that of an argument of the coefficient, which nobody typed.
        key = error.key if error.key and error.key.startswith("sde") else "diffusion"
        raise UserError(error.message, key=key, hint=error.hint) from error
    return solver


def _of_options(options: SubjectOptions) -> Scene | ImageScene:
    data = _data(Component(options.data.name or "Checkerboard", options.data.arguments))
    source = None if options.source.name is None else _law("source", options.source)
    path = Component(options.path.name or "CondOT", options.path.arguments)
    built_path: ProbabilityPath = build_component("path", path, ProbabilityPath)
    coupling = Component(options.coupling.name or "Independent", options.coupling.arguments)
    built_coupling: Coupling = build_component("coupling", coupling, Coupling)
    if source is not None and isinstance(built_path, GaussianPath):
        built_path = Interpolant(built_path)
    if not isinstance(data, Distribution):
        return ImageScene(built_path, data, options.seed)
    return _scene(options, built_path, data, source, built_coupling)


def _of_config(options: SubjectOptions) -> Scene | ImageScene:
    """A configuration's data, path, source and coupling, as its model takes them; options stand over the files."""
    argv = [word for file in options.config for word in ("--config", file)]
    shapes = {law.__name__: shape for shape, law in SHAPES_2D.items()} | {shape: shape for shape in SHAPES_2D}
    for key in ("data", "model.path", "model.source", "model.coupling"):
        component: Component = getattr(options, key.rpartition(".")[2])
        if key == "data" and component.name in shapes:
            argv += ["--data=Toy2D", f"--data.name={shapes[component.name]}"]
        elif component.name is not None:
            argv.append(f"--{key}={component.name}")
        argv += [f"--{key}.{argument}={value}" for argument, value in component.arguments.items()]
    prepared = prepare(argv)
    module = make_section("model", prepared.config["model"], prepared.trust)
    return _of_module(options, module, prepared.data, trained=False)


def _of_module(options: SubjectOptions, module: Any, data: Any, *, trained: bool) -> Scene | ImageScene:
    """What a model learns from its data, with its own field if it is trained."""
    if not isinstance(module, GenerativeModule):
        raise UserError(f"{type(module).__name__} generates nothing", key="model")
    if len(data.shape) == 3:
        return ImageScene(module.path, data, options.seed)
    if tuple(data.shape) != (2,):
        raise UserError(f"two dimensions can be drawn, not shape {tuple(data.shape)}", key="data")
    law = getattr(data, "distribution", None) or _training_law(data, labelled=True)
    if getattr(options, "label", None) is not None and trained and module.num_classes is None:
        raise UserError("this model was trained without labels", key="label", hint="leave it out")
    module.eval().requires_grad_(False)
    source = _source_law(module.source, type(data).__name__)
    return _scene(options, module.path, law, source, module.coupling, module.field if trained else None)


def _source_law(source: Any, data: str) -> Distribution | None:
    """The law at t = 0 of a module's source, None for noise."""
    if isinstance(source, NoiseSource):
        return None
    if isinstance(source, DistributionSource):
        return source.distribution
    if isinstance(source, DataSource):
        return _training_law(source.data)
    raise UserError(f"the pairs of {data} come without a law of their source to draw", key="model.source")


def _training_law(data: Any, labelled: bool = False) -> Empirical:
    split = data.split("train")
    return Empirical(split.take(torch.arange(len(split))), split.labels if labelled else None)


def _scene(
    options: SubjectOptions,
    path: ProbabilityPath,
    data: Distribution,
    source: Distribution | None,
    coupling: Coupling,
    learned: Any = None,
) -> Scene:
    label, z = (options.label, options.z) if isinstance(options, MovingOptions) else (None, None)
    point = None if z is None else torch.tensor(z, dtype=torch.float64)
    return Scene(path, data, source, coupling, label=label, learned=learned, z=point, seed=options.seed)


def _data(component: Component) -> Any:
    """A law on the plane, or a data module."""
    name, modules = component.name or "", [entry.name for entry in of_kind("data")]
    if name in modules:
        data = build_component("data", component, LightningDataModule)
        return getattr(data, "distribution", data)
    laws = [entry.name for entry in of_kind("distributions")]
    if "." not in name and name not in (*laws, *SHAPES_2D):
        raise UserError(f"no data are called {name!r}", key="data", hint=nearest(name, [*laws, *SHAPES_2D, *modules]))
    return _law("data", component)


def _law(key: str, component: Component) -> Distribution:
    """A law from its class's name and arguments, or by its name as a shape."""
    if component.name not in SHAPES_2D:
        law: Distribution = build_component(key, component, Distribution)
        return law
    if component.arguments:
        hint = f"name the class, as --{key} EightGaussians --{key}.std=0.3"
        raise UserError("a shape has no arguments", key=f"{key}.{next(iter(component.arguments))}", hint=hint)
    return shape_2d(component.name)
