"""The options of `fmlab diagnose`, read before anything heavy is imported."""

from __future__ import annotations

import argparse

from fmlab.config.parts import Parser, add_trust, split_parts

USAGE = "fmlab diagnose RUN [--solver Heun] [--steps 20] [--guidance.scale 2] [--num_samples 500] [--checkpoint best]"
ABOUT = "Says where the error of a run comes from: its network, its solver, guidance, or too few data."


def parser() -> argparse.ArgumentParser:
    """The options of `fmlab diagnose`; what is left out is the run's own."""
    command = Parser(prog="fmlab diagnose", usage=USAGE, description=ABOUT, allow_abbrev=False)
    own = "; the run's own if left out"
    command.add_argument("run", help="a run's folder, its id, or an experiment's name (its newest run)")
    command.add_argument("--solver", help=f"see fmlab list solvers; --solver.NAME=VALUE for arguments{own}")
    command.add_argument("--grid", help=f"see fmlab list grids; --grid.NAME=VALUE likewise{own}")
    command.add_argument("--path", help=f"a Gaussian path to sample along, see fmlab list paths{own}")
    command.add_argument("--steps", type=int, help=f"solver steps{own}")
    command.add_argument("--guidance.scale", dest="guidance_scale", type=float, help=f"w; 1: conditional{own}")
    command.add_argument("--num_samples", dest="n", type=int, default=500, help="samples in each set (500)")
    command.add_argument("--seed", type=int, default=1_000_000, help="the first sample's seed (1000000)")
    command.add_argument("--checkpoint", default="best", help="best, last or a file (best)")
    command.add_argument("--weights", choices=["averaged", "raw"], default="averaged", help="(averaged)")
    command.add_argument("--batch_size", type=int, default=250, help="samples a solve (250)")
    command.add_argument("--device", help="cpu, cuda, ...; a GPU if there is one")
    add_trust(command)
    return command


def main(argv: list[str]) -> int:
    """Reads the options, then diagnoses."""
    own, parts = split_parts(argv, ("solver", "grid", "path"))
    options = parser().parse_args(own)
    from fmlab.commands.diagnose import diagnose_run

    return diagnose_run(options, parts)
