"""`fmlab draw path`, `field` and `flow`: rows of panels over time, still or moving."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fmlab.commands import draw_words as read
from fmlab.commands.draw_subject import Pictures, plane_scene, read_subject
from fmlab.config.parts import Parts, part
from fmlab.data.pixels import to_uint8
from fmlab.errors import UserError
from fmlab.figures import Panel, Scene, field_panels, flow_panels, image_rows, path_panels, sheet
from fmlab.random import Purpose, keyed_generator
from fmlab.solvers import Grid, Solver

MOVING_DPI, MOVING_SIDE = 110, 2.4

Maker = Callable[[Tensor], dict[str, list[Panel]]]
"""`make(times)`: panels by row, one a time."""


def draw_path(options: argparse.Namespace, parts: Parts) -> int:
    """The conditional and the marginal path, or images on their way."""
    read.check(options)
    times, subject = read.read_times(options), read_subject(options, parts)
    if isinstance(subject, Pictures):
        return _draw_images(subject, times, options)
    rows = read.read_rows(options, subject, ("conditional", "marginal"), ("conditional", "marginal"))
    names = {"conditional": "$p_t(x|z)$", "marginal": _of_class("$p_t(x{})$", subject)}
    return _draw(options, subject, names, times, lambda t: path_panels(subject, rows, t, options.n or 300))


def draw_field(options: argparse.Namespace, parts: Parts) -> int:
    """Vector fields: conditional, marginal and learned."""
    read.check(options)
    times, scene = read.read_times(options), _guided_scene(options, parts, "field")
    rows = read.read_rows(options, scene, read.ROWS)
    names = {
        "conditional": "$u_t(x|z)$",
        "marginal": _of_class("$u_t(x{})$", scene),
        "learned": _of_class(r"$u_t^\theta(x{})$", scene),
    }
    streams = options.style == "streams"
    return _draw(options, scene, names, times, lambda t: field_panels(scene, rows, t, streams=streams))


def draw_flow(options: argparse.Namespace, parts: Parts) -> int:
    """The flow map: a mesh and points carried along."""
    read.check(options)
    solver, grid = part("solver", options.solver, Solver, parts), part("grid", options.grid, Grid, parts)
    if solver.stochastic:
        raise UserError(f"{options.solver} adds noise, and a flow has none", key="solver", hint="use Heun, RK4, ...")
    times, scene = read.read_times(options), _guided_scene(options, parts, "flow")
    rows = read.read_rows(options, scene, ("marginal", "learned"))
    names = {
        "conditional": r"$\psi_t(x|z)$",
        "marginal": _of_class(r"$\psi_t(x{})$", scene),
        "learned": _of_class(r"$\psi_t^\theta(x{})$", scene),
    }
    n, steps = options.n, options.steps
    return _draw(options, scene, names, times, lambda t: flow_panels(scene, rows, t, n, solver, grid, steps))


def _guided_scene(options: argparse.Namespace, parts: Parts, figure: str) -> Scene:
    scales = read.read_scales(options)
    if len(scales) > 1:
        hint = "several scales stand side by side in fmlab draw trajectories"
        raise UserError("one scale", key="guidance_scale", hint=hint)
    return replace(plane_scene(options, parts, figure), guidance_scale=scales[0])


def _of_class(name: str, scene: Scene) -> str:
    return name.format("" if scene.label is None else "|y")


def _draw(options: argparse.Namespace, scene: Scene, names: dict[str, str], times: Tensor, make: Maker) -> int:
    """Writes rows of panels over time, or a film of them side by side."""
    print(read.describe(scene))
    panels = make(times)
    labels = [names[row] for row in panels]

    def film() -> Iterator[Any]:
        for place, t in enumerate(times.tolist()):
            now = [row[place] for row in panels.values()]
            yield sheet([now], (), labels, heading=f"$t={t:.2f}$", dpi=MOVING_DPI, side=MOVING_SIDE)

    read.write(options, lambda: sheet(list(panels.values()), labels, read.time_names(times)), film)
    return 0


def _draw_images(subject: Pictures, times: Tensor, options: argparse.Namespace) -> int:
    """A few images, each with noise of its own, at all times."""
    if options.rows is not None:
        raise UserError("of images only their conditional paths are drawn", key="rows", hint="leave it out")
    n = options.n or 4
    data = subject.draw(n, keyed_generator(subject.seed, Purpose.ORDER))
    noise = torch.randn(data.shape, generator=keyed_generator(subject.seed, Purpose.NOISE))
    images = [to_uint8(subject.path.draw(data, noise, t.float().expand(n)).x) for t in times]
    print(f"from noise to {subject.name} along {subject.path!r}")

    def film() -> Iterator[Any]:
        for t, then in zip(times.tolist(), images):
            yield image_rows(then[None], heading=f"$t={t:.2f}$", dpi=MOVING_DPI)

    read.write(options, lambda: image_rows(torch.stack(images, 1), read.time_names(times)), film)
    return 0
