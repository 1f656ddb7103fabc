"""The options of `fmlab evaluate`, read before anything heavy is imported."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TypeVar

from fmlab.commands.guidance_options import add_guidance
from fmlab.config.parts import Parser, Parts, add_trust, split_parts
from fmlab.errors import UserError

T = TypeVar("T")

USAGE = (
    "fmlab evaluate RUN [--metrics fid,kid] [--n 10000] [--solver Euler,Heun] [--steps 5,10,20] [--guidance.scale 1,2]"
)

EPILOG = """
A comma list is an axis of a grid over the one trained network, --solver.NAME=VALUE,VALUE too; every combination is
measured. Repeating the command goes on where it stopped. Several processes share the work under srun, or under
  torchrun --nproc_per_node 8 -m fmlab evaluate RUN --num_samples 50000      (torchrun takes --n for one of its own)
"""


def parser() -> argparse.ArgumentParser:
    """The options of `fmlab evaluate`."""
    command = Parser(
        prog="fmlab evaluate",
        usage=USAGE,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("run", nargs="?", help="a run's folder, its id, or an experiment's name (its newest run)")
    add("--run", dest="named_run", metavar="RUN", help="the same, for sweeps, whose parameters are flags")
    about = "of images fid, kid, is, prdc, accuracy (fid,kid), or bpd alone; of points w2, mmd; of either neighbours"
    add("--metrics", help=about)
    about = "samples to generate (10000 images, 2000 points); of bpd, held-out images"
    add("--n", "--num_samples", type=int, help=about)
    add("--solver", default="Heun", help="see fmlab list solvers; --solver.NAME=VALUE for arguments (Heun)")
    add("--steps", default="20", help="solver steps (20)")
    add("--grid", default="UniformGrid", help="where the steps lie, see fmlab list grids (UniformGrid)")
    add("--path", help="a Gaussian path to sample along, see fmlab list paths; the trained one if left out")
    add("--guidance_scale", "--guidance.scale", default="1", help="w; 1: conditional (1)")
    add_guidance(command)
    add(
        "--labels",
        default="frequencies",
        help="drawn by the training set's frequencies, or such as 0-9 or 1,4, in turn",
    )
    about = "which network sees the images: auto, domain, inception, dinov2, clip, random, or an import path (auto)"
    add("--features", default="auto", help=about)
    add("--reference", help="a file of reference statistics (.npz, .pkl) in the place of the run's data")
    add("--seed", type=int, default=0, help="the first sample's seed; the others follow (0)")
    add("--probes", type=int, default=3, help="of bpd: probes of the divergence for each dequantisation (3)")
    add("--dequantisations", type=int, default=2, help="of bpd: dequantisations of each held-out image (2)")
    add("--exact", action="store_true", help="measure the exact field of the run's training data too")
    add("--checkpoint", default="best", help="best, last or a file (best)")
    add("--weights", choices=["averaged", "raw"], default="averaged", help="(averaged)")
    add("--ema.std", dest="ema_std", help="widths of power-function averages to measure, such as 0.05,0.10")
    add("--batch_size", type=int, default=250, help="samples a solve (250)")
    add("--device", help="cpu, cuda, ...; a GPU if there is one")
    add("--keep", help="keep the samples: a folder for one PNG each, or a .npz")
    add("--out", help="the evaluation's name: RUN/evaluations/NAME (named after the measurement)")
    add("--wandb", action="store_true", help="send the results to Weights & Biases as well, as a run of their own")
    add_trust(command)
    return command


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


def check(options: argparse.Namespace) -> None:
    """Refuses what needs no run to be known as wrong.

    Raises:
        UserError: At the first such option.
    """
    if options.n is not None and options.n < 1:
        raise UserError(f"{options.n} samples", key="n", hint="at least 1")
    if options.batch_size < 1:
        raise UserError(f"{options.batch_size} samples a solve", key="batch_size", hint="at least 1")
    if options.out is not None and not re.fullmatch(r"[\w][\w.+=@-]*", options.out):
        raise UserError(f"{options.out!r} is no folder's name", key="out", hint="letters, digits and . _ - + = @")


def read(argv: list[str]) -> tuple[argparse.Namespace, Parts]:
    """The options, with their lists as lists, and the arguments of the parts.

    Raises:
        UserError: If one of them cannot be read.
    """
    own, parts = split_parts(argv, ("solver", "grid", "path"))
    options = parser().parse_args(own)
    if (options.run is None) == (options.named_run is None):
        raise UserError("which run?", key="evaluate", hint=USAGE)
    options.run = options.run or options.named_run
    if parts["path"] and options.path is None:
        raise UserError("is an argument of no path", key=f"path.{next(iter(parts['path']))}", hint="add --path VP")
    check(options)
    options.steps = numbers(options.steps, "steps", int, "--steps 20, or --steps 5,10,20")
    scales = numbers(options.guidance_scale, "guidance.scale", float, "--guidance.scale 2, or --guidance.scale 1,1.5,2")
    options.guidance_scale = scales
    stds = options.ema_std
    options.ema_std = [None] if stds is None else numbers(stds, "ema.std", float, "--ema.std 0.05, or 0.05,0.10")
    return options, parts


def main(argv: list[str]) -> int:
    """Reads the options, then evaluates."""
    options, parts = read(argv)
    from fmlab.commands.evaluate import evaluate

    return evaluate(options, parts)
