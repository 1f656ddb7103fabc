"""What pictures of the theory are drawn of: a module with its data, or parts that options name."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from fmlab.config.catalog import of_kind
from fmlab.config.options import Component
from fmlab.config.parts import build_component
from fmlab.distributions import SHAPES_2D, Distribution, Empirical, shape_2d
from fmlab.errors import UserError, nearest
from fmlab.figures import ImageScene, Scene
from fmlab.objectives import Coupling
from fmlab.paths import GaussianPath, Interpolant, ProbabilityPath
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.sources import DataSource, DistributionSource, NoiseSource


def module_scene(module: Any, data: Any, *, trained: bool) -> Scene | ImageScene:
    """What a module learns from its data, with its own field if it is trained.

    Raises:
        UserError: If the module generates nothing, or what it generates cannot be drawn.
    """
    if not isinstance(module, GenerativeModule):
        raise UserError(f"{type(module).__name__} generates nothing", key="model")
    if len(data.shape) == 3:
        return ImageScene(module.path, data)
    if tuple(data.shape) != (2,):
        raise UserError(f"two dimensions can be drawn, not shape {tuple(data.shape)}", key="data")
    law = getattr(data, "distribution", None) or _training_law(data, labelled=True)
    module.eval().requires_grad_(False)
    source = _source_law(module.source, type(data).__name__)
    return Scene(module.path, law, source, module.coupling, learned=module.field if trained else None)


def parts_scene(data: Component, path: Component, source: Component, coupling: Component) -> Scene | ImageScene:
    """The scene of parts that options name; Checkerboard, CondOT, noise and Independent where they name none.

    Raises:
        UserError: If there is no such part, or an argument does not fit.
    """
    target = _data(Component(data.name or "Checkerboard", data.arguments))
    source_law = _law("source", source)
    built_path = build_component("path", Component(path.name or "CondOT", path.arguments), ProbabilityPath)
    pairing = build_component("coupling", Component(coupling.name or "Independent", coupling.arguments), Coupling)
    if source_law is not None and isinstance(built_path, GaussianPath):
        built_path = Interpolant(built_path)
    if not isinstance(target, Distribution):
        return ImageScene(built_path, target)
    return Scene(built_path, target, source_law, pairing)


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


def _law(key: str, component: Component) -> Distribution | None:
    """A law from its class's name and arguments, or by its name as a shape; None where none is named."""
    if component.name not in SHAPES_2D:
        law: Distribution | None = build_component(key, component, Distribution)
        return law
    if component.arguments:
        hint = f"name the class, as --{key} EightGaussians --{key}.std=0.3"
        raise UserError("a shape has no arguments", key=f"{key}.{next(iter(component.arguments))}", hint=hint)
    return shape_2d(component.name)
