"""What a run's folder says of how the run was asked for."""

from __future__ import annotations

import shlex

from fmlab.config.prepare import Prepared
from fmlab.config.schema import SEED
from fmlab.config.values import dump
from fmlab.records import RunLayout, write_meta
from fmlab.records.atomic import atomic_write_text
from fmlab.records.secrets import without_secrets


def write_run_record(layout: RunLayout, prepared: Prepared) -> None:
    """Writes the command line, the configuration, its files and the run's facts into its folder, without credentials.

    Args:
        layout: The run's folder, which exists.
        prepared: The complete configuration.
    """
    typed = [without_secrets(word) for word in prepared.typed]
    atomic_write_text(layout.config, without_secrets(prepared.yaml()))
    atomic_write_text(layout.raw_config, without_secrets(dump(prepared.raw)))
    atomic_write_text(layout.command, shlex.join(["fmlab", "fit", *typed]) + "\n")
    write_meta(layout, argv=typed, seed=prepared.config[SEED], import_folders=prepared.import_folders)
    for file in prepared.files:
        layout.files.mkdir(exist_ok=True)
        atomic_write_text(layout.files / file.name, without_secrets(file.read_text()))
