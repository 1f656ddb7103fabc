"""What a run's folder says of how the run was asked for."""

from __future__ import annotations

import shlex
from dataclasses import replace

from fmlab.config.prepare import Prepared
from fmlab.config.schema import SEED
from fmlab.config.values import dump
from fmlab.records import RunLayout, write_meta
from fmlab.records.atomic import atomic_write_text
from fmlab.records.secrets import values_without_secrets, without_secrets


def write_run_record(layout: RunLayout, prepared: Prepared) -> None:
    """Writes the command line, the configuration, its files and the run's facts into its folder, without credentials.

    Args:
        layout: The run's folder, which exists.
        prepared: The complete configuration.
    """
    typed = values_without_secrets(prepared.typed)
    write_config(layout, prepared)
    atomic_write_text(layout.raw_config, dump(values_without_secrets(prepared.raw)))
    atomic_write_text(layout.command, shlex.join(["fmlab", "fit", *typed]) + "\n")
    write_meta(layout, argv=typed, seed=prepared.config[SEED], import_folders=prepared.import_folders)
    for file in prepared.files:
        layout.files.mkdir(exist_ok=True)
        atomic_write_text(layout.files / file.name, without_secrets(file.read_text()))


def write_config(layout: RunLayout, prepared: Prepared) -> None:
    """Writes the complete configuration, without credentials."""
    atomic_write_text(layout.config, replace(prepared, config=values_without_secrets(prepared.config)).yaml())
