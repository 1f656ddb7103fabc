"""`fmlab validate`: the validation of a finished run once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fmlab.config.options import Overrides, Positional
from fmlab.config.prepare import import_folders, prepare
from fmlab.records import find_run, read_meta


@dataclass(frozen=True, kw_only=True)
class ValidateOptions:
    """Repeats the validation of a finished run, as its configuration says, or as overrides change it.

      fmlab validate digits
      fmlab validate runs/digits/20261123-061203-a1b2 --checkpoint last --fid.num_samples=5000

    Args:
        run: A run's folder, its id, or an experiment's name (its newest run).
        checkpoint: Which checkpoint: best, last or a file.
        trust: Import the run author's own code, which the run names.
        overrides: A key of the configuration and its value, such as --fid.steps=50.
    """

    run: Annotated[str, Positional()]
    checkpoint: str = "best"
    trust: bool = False
    overrides: Annotated[tuple[str, ...], Overrides()] = ()


def run(options: ValidateOptions) -> int:
    """Measures, and prints the numbers."""
    layout = find_run(options.run)
    file = layout.checkpoint(options.checkpoint)
    argv = ["--config", str(layout.config), *options.overrides]
    prepared = prepare(argv, options.trust, folders=import_folders(layout, options.trust))
    from fmlab.data.contract import check_classes
    from fmlab.training.assemble import assemble, trainer_section
    from fmlab.training.checkpoint_files import read_checkpoint

    check_classes(read_meta(layout).get("data") or {}, prepared.data)
    prepared.config["trainer"] = trainer_section(prepared.config)
    read_checkpoint(file)  # Lightning takes a damaged one without a word
    parts = assemble(prepared, str(layout.root / "validate"))
    metrics = parts.trainer.validate(
        parts.model, datamodule=parts.data, ckpt_path=file, verbose=False, weights_only=True
    )
    for name, value in sorted(metrics[0].items()):
        print(f"{name:20} {value:.5g}")
    return 0
