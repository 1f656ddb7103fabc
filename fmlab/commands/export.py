"""`fmlab export`: a finished run as one file; its options are read before anything heavy is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from fmlab.config.parts import Parser, add_trust

USAGE = "fmlab export RUN --to FILE.safetensors [--weights averaged|raw] [--checkpoint best|last|FILE] [--ema.std 0.05]"


def parser() -> argparse.ArgumentParser:
    """The options of `fmlab export`."""
    command = Parser(prog="fmlab export", usage=USAGE, allow_abbrev=False)
    command.add_argument("run", help="a run's folder, its id, or an experiment's name (its newest run)")
    command.add_argument(
        "--to",
        required=True,
        help="the file, called .safetensors; the word safetensors alone names it after the experiment, in this folder",
    )
    command.add_argument("--weights", choices=["averaged", "raw"], default="averaged", help="(averaged)")
    command.add_argument("--checkpoint", default="best", help="best, last or a file (best)")
    command.add_argument("--ema.std", dest="ema_std", type=float, help="the width of a power-function average instead")
    add_trust(command)
    return command


def main(argv: list[str]) -> int:
    """Writes a run's weights with all that is needed to sample, and a model card beside them."""
    options = parser().parse_args(argv)
    from fmlab.inference.export import export_run
    from fmlab.records import find_run

    layout = find_run(options.run)
    file = Path(f"{layout.experiment}.safetensors" if options.to == "safetensors" else options.to)
    card = export_run(layout, file, options.checkpoint, options.weights, options.ema_std, options.trust)
    print(f"weights    {file} ({file.stat().st_size / 2**20:.3g} MiB)")
    print(f"card       {card}")
    print(f"next       fmlab sample {file}")
    return 0
