"""`fmlab import`: published weights as a file that samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fmlab.commands.shared import Count
from fmlab.config.options import Named, Positional
from fmlab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Writes published DiT or SiT weights as `fmlab export` writes a run's.

      fmlab import SiT-XL-2-256x256.pt --as SiT --to sit.safetensors

    Args:
        file: A state dict or training checkpoint of the official DiT or SiT code.
        convention: Whose weights these are; DiT and SiT name their tensors alike.
        to: The file to write, called .safetensors.
        heads: Attention heads, for a width that was not published.
        overwrite: Replace the file and its card if they are there already.
    """

    file: Annotated[Path, Positional("FILE.pt")]
    convention: Annotated[Literal["DiT", "SiT"], Named("as")]
    to: Path
    heads: Count | None = None
    overwrite: bool = False


def run(options: ImportOptions) -> int:
    """Writes the file and its card."""
    if not options.file.is_file():
        raise UserError("there is no such file", key=str(options.file), hint=f"you are in {Path.cwd()}")
    from fmlab.inference.card import model_card
    from fmlab.inference.exported import check_target, write_exported
    from fmlab.inference.official import import_official
    from fmlab.records import atomic_write_text

    check_target(options.to, options.overwrite)
    network, record = import_official(options.file, options.convention, options.heads)
    write_exported(options.to, network, record)
    card = options.to.with_suffix(".md")
    atomic_write_text(card, model_card(record, options.to))
    shape = " x ".join(str(size) for size in record.shape)
    print(f"weights    {options.to}: {shape}, {record.num_classes} classes, {record.prediction} on {record.path}")
    print(f"card       {card}")
    print(f"next       fmlab sample {options.to} --guidance.scale 4 --num_samples 8 --labels 0-7 --out samples.npz")
    return 0
