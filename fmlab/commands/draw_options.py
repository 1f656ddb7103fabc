"""The options of `fmlab draw`, read before anything heavy is imported."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from fmlab.commands import draw_parsers as parsers
from fmlab.config.parts import split_parts
from fmlab.errors import UserError, nearest


@dataclass(frozen=True)
class Figure:
    """A word after `fmlab draw`.

    Attributes:
        about: One line of help.
        parser: Its options.
        parts: The options that name a class, whose arguments are `--PART.NAME=VALUE`.
        target: `module:function`, imported when the figure is drawn; it takes the options and the parts' arguments.
    """

    about: str
    parser: Callable[[], argparse.ArgumentParser]
    parts: tuple[str, ...]
    target: str


SUBJECT = ("data", "path", "source", "coupling")

FIGURES: dict[str, Figure] = {
    "path": Figure(
        "conditional and marginal probability paths",
        parsers.path_parser,
        SUBJECT,
        "fmlab.commands.draw:run_path",
    ),
    "field": Figure(
        "conditional, marginal and learned vector fields",
        parsers.field_parser,
        SUBJECT,
        "fmlab.commands.draw:run_field",
    ),
    "flow": Figure(
        "a mesh and samples carried along by the flow map",
        parsers.flow_parser,
        (*SUBJECT, "solver", "grid"),
        "fmlab.commands.draw:run_flow",
    ),
    "trajectories": Figure(
        "ODE and SDE trajectories side by side",
        parsers.trajectories_parser,
        (*SUBJECT, "solver", "grid", "sde"),
        "fmlab.commands.draw:run_trajectories",
    ),
    "process": Figure(
        "sample paths of a process against its exact law",
        parsers.process_parser,
        ("process", "solver"),
        "fmlab.commands.draw:run_process",
    ),
    "solvers": Figure(
        "error of solvers against evaluations, on the exact field",
        parsers.solvers_parser,
        (*SUBJECT, "grid"),
        "fmlab.commands.draw:run_solvers",
    ),
}


def main(argv: list[str]) -> int:
    """`fmlab draw`, `fmlab draw FIGURE ...`."""
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, FIGURES))
        print("fmlab draw FIGURE [--help], where FIGURE is one of\n")
        print("\n".join(f"  {name:{width}}  {figure.about}" for name, figure in FIGURES.items()))
        return 0
    name, *words = argv
    if name not in FIGURES:
        raise UserError("there is no such figure", key=f"draw {name}", hint=nearest(name, FIGURES))
    figure = FIGURES[name]
    own, parts = split_parts(words, figure.parts)
    options = figure.parser().parse_args(own)
    module, _, function = figure.target.partition(":")
    return int(getattr(importlib.import_module(module), function)(options, parts))
