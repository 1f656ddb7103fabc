"""`fmlab import`: published weights as a file that samples; its options are read before anything heavy is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from fmlab.config.parts import Parser

USAGE = "fmlab import FILE.pt --as DiT|SiT --to FILE.safetensors [--heads 16]"


def parser() -> argparse.ArgumentParser:
    """The options of `fmlab import`."""
    command = Parser(prog="fmlab import", usage=USAGE, allow_abbrev=False)
    command.add_argument("file", type=Path, help="a state dict or training checkpoint of the official DiT or SiT code")
    command.add_argument(
        "--as", dest="convention", choices=["DiT", "SiT"], required=True, help="whose: their names are the same"
    )
    command.add_argument("--to", type=Path, required=True, help="the file to make, called .safetensors")
    command.add_argument("--heads", type=int, help="attention heads, for a width that was not published")
    return command


def main(argv: list[str]) -> int:
    """Writes published weights as `fmlab export` writes a run's."""
    options = parser().parse_args(argv)
    from fmlab.inference.card import model_card
    from fmlab.inference.exported import check_target, write_exported
    from fmlab.inference.official import import_official
    from fmlab.records import atomic_write_text

    check_target(options.to)
    network, record = import_official(options.file, options.convention, options.heads)
    write_exported(options.to, network, record)
    card = options.to.with_suffix(".md")
    atomic_write_text(card, model_card(record, options.to))
    shape = " x ".join(str(size) for size in record.shape)
    print(f"weights    {options.to}: {shape}, {record.num_classes} classes, {record.prediction} on {record.path}")
    print(f"card       {card}")
    print(f"next       fmlab sample {options.to} --guidance_scale 4 --n 8 --labels 0-7 --out samples.npz")
    return 0
