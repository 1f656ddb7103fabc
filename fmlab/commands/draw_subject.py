"""What `fmlab draw` draws: a scene on the plane, or images, from words, a configuration or a run."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

from fmlab.config.parts import Parts, part
from fmlab.config.values import read_value
from fmlab.distributions import SHAPES_2D, Distribution, Empirical, shape_2d
from fmlab.errors import UserError, nearest
from fmlab.figures import ImageScene, Scene
from fmlab.objectives import Coupling
from fmlab.paths import GaussianPath, Interpolant, ProbabilityPath

OF_IMAGES = "of images fmlab draw path shows the path"


def plane_scene(options: argparse.Namespace, parts: Parts, figure: str) -> Scene:
    """The scene that the options name.

    Raises:
        UserError: If there is none, or it is of images.
    """
    subject = read_subject(options, parts)
    if isinstance(subject, ImageScene):
        cause = f"{type(subject.data).__name__} has images, and {figure} is drawn of points on the plane"
        raise UserError(cause, key=f"draw {figure}", hint=OF_IMAGES)
    return subject


def read_subject(options: argparse.Namespace, parts: Parts) -> Scene | ImageScene:
    """What the options name.

    Raises:
        UserError: If words, file or run do not make a path between two laws.
    """
    if options.run is not None and options.config:
        raise UserError("a RUN has its own configuration", key="config", hint="leave one of them out")
    if options.run is not None:
        return _of_run(options, parts)
    if options.config:
        return _of_config(options, parts)
    return _of_words(options, parts)


def _of_words(options: argparse.Namespace, parts: Parts) -> Scene | ImageScene:
    data = _data(options.data or "Checkerboard", parts)
    source = None if options.source is None else _law("source", options.source, parts)
    path: ProbabilityPath = part("path", options.path or "CondOT", ProbabilityPath, parts)
    coupling: Coupling = part("coupling", options.coupling or "Independent", Coupling, parts)
    if source is None and parts["source"]:
        argument = f"source.{next(iter(parts['source']))}"
        raise UserError("is an argument of no source", key=argument, hint="add --source Circles")
    if source is not None and isinstance(path, GaussianPath):
        path = Interpolant(path)
    if not isinstance(data, Distribution):
        return ImageScene(path, data, options.seed)
    return _scene(options, path, data, source, coupling)


def _of_config(options: argparse.Namespace, parts: Parts) -> Scene | ImageScene:
    """A configuration's data, path, source and coupling, as its model takes them; words stand over the files."""
    from fmlab.config.prepare import make_section, prepare

    words = [word for file in options.config for word in ("--config", file)]
    for name in ("data", "path", "source", "coupling"):
        key, word = name if name == "data" else f"model.{name}", getattr(options, name)
        toy = {law.__name__: shape for shape, law in SHAPES_2D.items()} | {shape: shape for shape in SHAPES_2D}
        if name == "data" and word in toy:
            words += ["--data=Toy2D", f"--data.name={toy[word]}"]
        elif word is not None:
            words.append(f"--{key}={word}")
        words += [f"--{key}.{argument}={value}" for argument, value in parts[name].items()]
    prepared = prepare(words)
    module = make_section("model", prepared.config["model"], prepared.trust)
    return _of_module(options, module, prepared.data, trained=False)


def _of_run(options: argparse.Namespace, parts: Parts) -> Scene | ImageScene:
    from fmlab.inference.load import load_module
    from fmlab.records import find_run

    for name in ("data", "path", "source", "coupling"):
        if getattr(options, name) is not None or parts[name]:
            raise UserError(f"a run has its own {name}", key=name, hint="leave it out, or draw --config FILE")
    loaded = load_module(find_run(options.run), options.checkpoint, options.weights)
    return _of_module(options, loaded.module, loaded.data(), trained=True)


def _of_module(options: argparse.Namespace, module: Any, data: Any, *, trained: bool) -> Scene | ImageScene:
    """What a model learns from its data, with its own field if it is trained."""
    from fmlab.training.generative_module import GenerativeModule

    name = type(data).__name__
    if not isinstance(module, GenerativeModule):
        raise UserError(f"{type(module).__name__} generates nothing", key="model")
    if len(data.shape) == 3:
        return ImageScene(module.path, data, options.seed)
    if tuple(data.shape) != (2,):
        raise UserError(f"two dimensions can be drawn, not shape {tuple(data.shape)}", key="data")
    law = getattr(data, "distribution", None)
    if law is None:
        split = data.split("train")
        law = Empirical(split.take(torch.arange(len(split))), split.labels)
    if getattr(options, "label", None) is not None and trained and module.num_classes is None:
        raise UserError("this model was trained without labels", key="label", hint="leave it out")
    module.eval().requires_grad_(False)
    return _scene(
        options, module.path, law, _source_law(module.source, name), module.coupling, module.field if trained else None
    )


def _source_law(source: Any, data: str) -> Distribution | None:
    """The law at t = 0 of a module's source, None for noise."""
    from fmlab.training.sources import DataSource, DistributionSource, NoiseSource

    if isinstance(source, NoiseSource):
        return None
    if isinstance(source, DistributionSource):
        return source.distribution
    if isinstance(source, DataSource):
        split = source.data.split("train")
        return Empirical(split.take(torch.arange(len(split))))
    raise UserError(f"the pairs that {data} brings have no law of their own to draw", key="model.source")


def _scene(
    options: argparse.Namespace,
    path: ProbabilityPath,
    data: Distribution,
    source: Distribution | None,
    coupling: Coupling,
    learned: Any = None,
) -> Scene:
    return Scene(
        path,
        data,
        source,
        coupling,
        label=getattr(options, "label", None),
        learned=learned,
        z=_point(getattr(options, "z", None)),
        seed=options.seed,
    )


def _data(word: str, parts: Parts) -> Any:
    """A law on the plane, or a data module."""
    from lightning.pytorch import LightningDataModule

    from fmlab.config.catalog import of_kind

    modules = [entry.name for entry in of_kind("data")]
    if word in modules:
        data = part("data", word, LightningDataModule, parts)
        return getattr(data, "distribution", data)
    laws = [entry.name for entry in of_kind("distributions")]
    if "." not in word and word not in (*laws, *SHAPES_2D):
        raise UserError(f"no data are called {word!r}", key="data", hint=nearest(word, [*laws, *SHAPES_2D, *modules]))
    return _law("data", word, parts)


def _law(name: str, word: str, parts: Parts) -> Distribution:
    """A law from its class's name and arguments, or by its name as a shape."""
    if word not in SHAPES_2D:
        law: Distribution = part(name, word, Distribution, parts)
        return law
    if parts[name]:
        hint = f"name the class, as --{name} EightGaussians --{name}.std=0.3"
        raise UserError("a shape has no arguments", key=f"{name}.{next(iter(parts[name]))}", hint=hint)
    return shape_2d(word)


def _point(text: str | None) -> Tensor | None:
    """`1.5,0.5` as a point."""
    if text is None:
        return None
    try:
        point = torch.tensor(read_value(f"[{text.strip('[]()')}]"), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        point = torch.zeros(0)
    if point.shape != (2,) or not torch.isfinite(point).all():
        raise UserError(f"cannot read {text!r}", key="z", hint="write a point of the plane, as 1.5,0.5")
    return point
