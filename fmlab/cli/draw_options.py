"""The options of `fmlab draw`, read before anything heavy is imported."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from fmlab.cli.parts import Parser, split_parts
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


def process_parser() -> argparse.ArgumentParser:
    """The options of `fmlab draw process`."""
    usage = "fmlab draw process --process OrnsteinUhlenbeck [--process.theta=1] [--until 5] [--n 20] [--out ou.png]"
    command = Parser(prog="fmlab draw process", usage=usage, allow_abbrev=False)
    command.add_argument(
        "--process", required=True, help="see fmlab list processes; --process.NAME=VALUE for arguments"
    )
    command.add_argument(
        "--solver", default="EulerMaruyama", help="see fmlab list solvers; --solver.NAME=VALUE likewise"
    )
    command.add_argument("--steps", type=int, default=200, help="solver steps (200)")
    command.add_argument("--until", type=float, default=5.0, help="the last time; the first is 0 (5)")
    command.add_argument("--n", type=int, default=20, help="how many paths are drawn (20)")
    command.add_argument(
        "--start",
        help="X_0: a number, one point as [1,0], or several as [-2,2] in one dimension and [[1,0],[0,1]] in two, "
        "in turn; 0 if left out, for an ODE points drawn from N(0, I)",
    )
    command.add_argument("--seed", type=int, default=0, help="the seed of all noise (0)")
    command.add_argument("--out", default="process.png", help="the picture, a PNG (process.png)")
    return command


FIGURES: dict[str, Figure] = {
    "process": Figure(
        "sample paths of a process against its exact law",
        process_parser,
        ("process", "solver"),
        "fmlab.cli.draw_process:draw_process",
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
