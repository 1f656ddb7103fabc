"""`fmlab draw trajectories`: ODE and SDE trajectories side by side, or those of several guidance scales."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from fmlab.commands import draw_words as read
from fmlab.commands.draw_scene import MOVING_DPI
from fmlab.commands.draw_subject import plane_scene
from fmlab.commands.evaluate_options import words
from fmlab.config.parts import Parts, part
from fmlab.config.values import read_value
from fmlab.errors import UserError
from fmlab.figures import Scene, sheet, trajectory_panels
from fmlab.solvers import ConstantDiffusion, Grid, Solver

ROW_NAMES = {"conditional": "given $z$", "marginal": "exact", "learned": "learned"}
USUAL_DIFFUSION = "0.5,1"
SIDE = 2.0

Columns = dict[str, tuple[Scene, Solver]]
"""What is followed and how, by the column's name."""


def draw_trajectories(options: argparse.Namespace, parts: Parts) -> int:
    """Writes trajectories of the ODE and of SDEs over source and target."""
    read.check(options)
    ode, grid = part("solver", options.solver, Solver, parts), part("grid", options.grid, Grid, parts)
    if ode.stochastic:
        hint = "--solver is the ODE's; --sde and --diffusion are the SDEs'"
        raise UserError(f"{options.solver} follows SDEs", key="solver", hint=hint)
    scales, scene = read.read_scales(options), plane_scene(options, parts, "trajectories")
    usual = ("conditional", "marginal") if scene.learned is None and scene.label is None else ("marginal", "learned")
    rows = read.read_rows(options, scene, usual)
    columns = _columns(options, parts, scene, ode, scales, rows)
    until = read.read_times(options)
    print(read.describe(scene))
    until = until if read.moves(options) else torch.ones(1, dtype=torch.float64)
    then = trajectory_panels(list(columns.values()), rows, until, options.n, grid, options.steps)
    names = [ROW_NAMES[row] for row in rows] if len(rows) > 1 else []

    def film() -> Iterator[Any]:
        for t, panels in zip(until.tolist(), then):
            heading = f"$t={t:.2f}$"
            yield sheet(panels, names, list(columns), heading=heading, time_bar=True, dpi=MOVING_DPI, side=SIDE)

    read.write(options, lambda: sheet(then[-1], names, list(columns), time_bar=True, side=SIDE), film)
    return 0


def _columns(
    options: argparse.Namespace, parts: Parts, scene: Scene, ode: Solver, scales: list[float], rows: list[str]
) -> Columns:
    """The ODE and the SDEs; of several guidance scales the ODE of each.

    Raises:
        UserError: If SDEs of several scales are asked for, or there is no such diffusion.
    """
    if len(scales) > 1:
        if options.diffusion is not None and options.diffusion != "none":
            raise UserError("of several guidance scales the ODEs are drawn", key="diffusion", hint="leave it out")
        return {f"$w={scale:g}$": (replace(scene, guidance_scale=scale), ode) for scale in scales}
    scene = replace(scene, guidance_scale=scales[0])
    columns: Columns = {"ODE": (scene, ode)}
    asked = options.diffusion or (USUAL_DIFFUSION if scene.knows_score(rows) else "none")
    for word in words(asked, "diffusion") if asked != "none" else []:
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
