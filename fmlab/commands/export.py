"""`fmlab export`: a finished run as one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fmlab.commands.shared import TrainedOptions
from fmlab.config.options import Named
from fmlab.records import find_run


@dataclass(frozen=True, kw_only=True)
class ExportOptions(TrainedOptions):
    """Writes a run's weights with all that is needed to sample, and a model card beside them.

      fmlab export digits --to digits.safetensors

    Args:
        to: The file, called .safetensors; the word safetensors alone names it after the experiment, in this folder.
        ema_std: The width of a power-function average to use instead, such as 0.05.
        overwrite: Replace the file and its card if they are there already.
    """

    to: str
    ema_std: Annotated[float | None, Named("ema.std")] = None
    overwrite: bool = False


def run(options: ExportOptions) -> int:
    """Writes the file and its card."""
    layout = find_run(options.run)
    from fmlab.inference.export import export_run

    file = Path(f"{layout.experiment}.safetensors" if options.to == "safetensors" else options.to)
    choice = (options.checkpoint, options.weights, options.ema_std)
    card = export_run(layout, file, *choice, options.trust, options.overwrite)
    print(f"weights    {file} ({file.stat().st_size / 2**20:.3g} MiB)")
    print(f"card       {card}")
    print(f"next       fmlab sample {file}")
    return 0
