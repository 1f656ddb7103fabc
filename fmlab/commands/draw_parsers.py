"""The options of each figure of `fmlab draw`, read before anything heavy is imported."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TypeVar

from fmlab.config.parts import Parser
from fmlab.errors import UserError

T = TypeVar("T")

SUBJECT = """
What is drawn comes from a finished RUN, from --config FILE, or from words:
  --data Checkerboard      EightGaussians, Moons, ... (fmlab list distributions) or a name of Toy2D's, such as mixture
  --path VP                see fmlab list paths; --path.NAME=VALUE for arguments
  --source Circles         what stands at t = 0; standard normal noise if left out
  --coupling MinibatchOT   see fmlab list couplings; independent if left out
A RUN's own network is drawn beside the exact field.
"""


def path_parser() -> argparse.ArgumentParser:
    """The options of `fmlab draw path`."""
    command = _subject(
        "path", "--data Checkerboard --path VP [--times 0,0.5,1] [--out path.png]", rows="conditional,marginal"
    )
    _times(command, "0,0.25,0.5,0.75,1")
    command.add_argument("--num_samples", dest="n", type=int, help="points drawn (300), or images (4)")
    return command


def field_parser() -> argparse.ArgumentParser:
    """The options of `fmlab draw field`."""
    command = _subject("field", "--data Moons --path CondOT [--style streams] [--out field.png]", rows="all there are")
    _times(command, "0,0.25,0.5,0.75,0.95")
    command.add_argument("--style", choices=["arrows", "streams"], default="arrows", help="(arrows)")
    _guidance(command)
    return command


def flow_parser() -> argparse.ArgumentParser:
    """The options of `fmlab draw flow`."""
    command = _subject("flow", "--data Checkerboard [--steps 50] [--out flow.gif]", rows="marginal, learned")
    _times(command, "0,0.25,0.5,0.75,1")
    command.add_argument(
        "--num_samples", dest="n", type=int, default=400, help="points carried along beside the mesh (400)"
    )
    _solver(command, 50)
    _guidance(command)
    return command


def trajectories_parser() -> argparse.ArgumentParser:
    """The options of `fmlab draw trajectories`."""
    usage = "--data mixture [--diffusion 0.5,1] [--num_samples 40] [--out trajectories.png]"
    command = _subject("trajectories", usage, rows="conditional, marginal; of a run marginal, learned")
    command.add_argument("--num_samples", dest="n", type=int, default=40, help="how many trajectories (40)")
    _solver(command, 200)
    command.add_argument(
        "--diffusion",
        help="diffusion coefficients of the SDEs beside the ODE, one panel each: numbers, or classes (fmlab list "
        "diffusions); none for the ODE alone (0.5,1 where the score is known)",
    )
    command.add_argument(
        "--sde", default="EulerMaruyama", help="the SDEs' solver; --sde.NAME=VALUE for arguments (EulerMaruyama)"
    )
    _guidance(command, several=True)
    _frames(command)
    return command


def solvers_parser() -> argparse.ArgumentParser:
    """The options of `fmlab draw solvers`."""
    usage = "--data mixture --path CondOT [--solver Euler,Heun,RK4] [--out solvers.png]"
    command = _subject("solvers", usage, rows=None)
    command.add_argument("--solver", default="Euler,Midpoint,Heun,RK3,RK4,AB2,AB4,Dopri5", help="(%(default)s)")
    command.add_argument("--grid", default="UniformGrid", help="see fmlab list grids; --grid.NAME=VALUE likewise")
    command.add_argument("--nfe", default="8,16,32,64,128,256", help="budgets of field evaluations (%(default)s)")
    command.add_argument(
        "--num_samples", dest="n", type=int, default=256, help="how many samples the error is a mean over (256)"
    )
    return command


def process_parser() -> argparse.ArgumentParser:
    """The options of `fmlab draw process`."""
    usage = "fmlab draw process --process OrnsteinUhlenbeck [--process.theta=1] [--until 5] [--out ou.png]"
    command = Parser(prog="fmlab draw process", usage=usage, allow_abbrev=False)
    command.add_argument(
        "--process", required=True, help="see fmlab list processes; --process.NAME=VALUE for arguments"
    )
    command.add_argument(
        "--solver", default="EulerMaruyama", help="see fmlab list solvers; --solver.NAME=VALUE likewise"
    )
    command.add_argument("--steps", type=int, default=200, help="solver steps (200)")
    command.add_argument("--until", type=float, default=5.0, help="the last time; the first is 0 (5)")
    command.add_argument("--num_samples", dest="n", type=int, default=20, help="how many paths are drawn (20)")
    command.add_argument(
        "--start",
        help="X_0: a number, one point as [1,0], or several as [-2,2] in one dimension and [[1,0],[0,1]] in two, "
        "in turn; 0 if left out, for an ODE points drawn from N(0, I)",
    )
    command.add_argument("--seed", type=int, default=0, help="the seed of all noise (0)")
    command.add_argument("--out", default="process.png", help="the picture, .png, .pdf or .svg (process.png)")
    return command


def _subject(name: str, usage: str, rows: str | None) -> argparse.ArgumentParser:
    """A figure's parser with the options that say what it is of."""
    command = Parser(
        prog=f"fmlab draw {name}",
        usage=f"fmlab draw {name} [RUN | --config FILE] {usage}",
        epilog=SUBJECT,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("run", nargs="?", help="a run's folder, its id, or an experiment's name (its newest run)")
    add("--config", action="append", help="an experiment file, drawn without training; several merge")
    add("--data", help="the law of the data (Checkerboard)")
    add("--path", help="the probability path (CondOT)")
    add("--source", help="the law at t = 0 (standard normal noise)")
    add("--coupling", help="which draw of the source goes with which data (Independent)")
    if rows is not None:
        add("--rows", help=f"of conditional, marginal, learned ({rows})")
        add("--z", help="the data point that conditional quantities are given, such as 1.5,0.5 (drawn)")
        add("--label", type=int, help="the class, of data that have classes")
    add("--checkpoint", default="best", help="of a RUN: best, last or a file (best)")
    add("--weights", choices=["averaged", "raw"], default="averaged", help="of a RUN (averaged)")
    add("--seed", type=int, default=0, help="the seed of all draws (0)")
    moving = "" if name == "solvers" else ", or .gif to move"
    add("--out", default=f"{name}.png", help=f".png, .pdf, .svg{moving} ({name}.png)")
    return command


def _times(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--times", default=default, help="times drawn; a GIF goes from the first to the last (%(default)s)"
    )
    _frames(command)


def _frames(command: argparse.ArgumentParser) -> None:
    command.add_argument("--frames", type=int, default=40, help="frames of a GIF (40)")


def _solver(command: argparse.ArgumentParser, steps: int) -> None:
    command.add_argument("--solver", default="Heun", help="see fmlab list solvers; --solver.NAME=VALUE (Heun)")
    command.add_argument("--grid", default="UniformGrid", help="see fmlab list grids; --grid.NAME=VALUE likewise")
    command.add_argument("--steps", type=int, default=steps, help=f"solver steps ({steps})")


def _guidance(command: argparse.ArgumentParser, several: bool = False) -> None:
    words = "w, with --label; several as 0,1,3, one panel each" if several else "w, with --label"
    command.add_argument("--guidance.scale", dest="guidance_scale", default="1", help=f"{words} (1)")


def words(text: str, key: str) -> list[str]:
    """`Euler,Heun` as a list, without repetitions; commas within brackets do not count.

    Raises:
        UserError: If nothing stands between two commas.
    """
    found = [word.strip() for word in re.split(r",(?![^\[({]*[\])}])", text)]
    if not all(found):
        raise UserError(f"cannot read {text!r}", key=key, hint="write one value, or several with commas")
    return list(dict.fromkeys(found))


def numbers(text: str, key: str, kind: Callable[[str], T], about: str) -> list[T]:
    """`5,10,20` as a list of numbers.

    Raises:
        UserError: If one of them is none.
    """
    try:
        return [kind(word) for word in words(text, key)]
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read {text!r}", key=key, hint=f"write {about}") from None
