"""The options of `fmlab sample`, read before anything heavy is imported."""

from __future__ import annotations

import argparse

from fmlab.commands.guidance_options import add_guidance
from fmlab.config.parts import Parser, add_trust, split_parts
from fmlab.errors import UserError

USAGE = "fmlab sample RUN [--solver Heun] [--steps 20] [--guidance.scale 2] [--labels 0-9] [--n 100] [--out FILE.npz]"


def parser() -> argparse.ArgumentParser:
    """The options of `fmlab sample`."""
    command = Parser(prog="fmlab sample", usage=USAGE, allow_abbrev=False)
    command.add_argument(
        "run", help="a run's folder, its id, or an experiment's name (its newest run); or an exported .safetensors file"
    )
    command.add_argument("--solver", default="Heun", help="see fmlab list solvers; --solver.NAME=VALUE for arguments")
    command.add_argument("--grid", default="UniformGrid", help="see fmlab list grids; --grid.NAME=VALUE likewise")
    command.add_argument(
        "--path", help="a Gaussian path to sample along, see fmlab list paths; the trained one if left out"
    )
    command.add_argument("--steps", type=int, default=20, help="solver steps (20)")
    command.add_argument("--guidance_scale", "--guidance.scale", type=float, default=1.0, help="w; 1: conditional (1)")
    add_guidance(command)
    command.add_argument("--labels", help="such as 3, 0-9 or 1,4,7; every class in turn if left out")
    command.add_argument("--n", type=int, help="how many samples (10 a class, 64 without classes)")
    command.add_argument("--seed", type=int, default=0, help="the first sample's seed; the others follow (0)")
    command.add_argument("--out", help="a folder for one PNG a sample, or a .npz with images and labels")
    command.add_argument("--checkpoint", default="best", help="best, last or a file (best)")
    command.add_argument("--weights", choices=["averaged", "raw"], default="averaged", help="(averaged)")
    command.add_argument(
        "--ema.std", dest="ema_std", type=float, help="the width of a power-function average instead, such as 0.05"
    )
    command.add_argument(
        "--exact", action="store_true", help="follow the exact field of the run's training data, not the network"
    )
    command.add_argument("--batch_size", type=int, default=256, help="samples a solve (256)")
    command.add_argument("--device", help="cpu, cuda, ...; a GPU if there is one")
    add_trust(command)
    return command


def main(argv: list[str]) -> int:
    """Reads the options, then samples."""
    own, parts = split_parts(argv, ("solver", "grid", "path"))
    options = parser().parse_args(own)
    if parts["path"] and options.path is None:
        raise UserError("is an argument of no path", key=f"path.{next(iter(parts['path']))}", hint="add --path VP")
    from fmlab.commands.sample import draw_samples

    return draw_samples(options, parts)
