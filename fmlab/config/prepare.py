"""From words to a configuration that is complete: composed, resolved, checked and filled from the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from fmlab.config import schema
from fmlab.config.check import check, check_section, check_sections, check_seed, locate
from fmlab.config.compose import Composition, compose, resolve
from fmlab.config.merge import ARGS
from fmlab.config.names import add_import_folders
from fmlab.config.values import dump
from fmlab.errors import user_error_in


@dataclass
class Prepared:
    """A run as it was asked for.

    Attributes:
        config: Resolved, checked, with full import paths, and complete.
        raw: As files and overrides say it, `${...}` unresolved.
        typed: The words as they were typed.
        files: The configuration files, in order.
        data: The data module, built from its section.
        notes: Lines to show the user.
        import_folders: The folders in which the user's own parts are looked for.
    """

    config: dict[str, Any]
    raw: dict[str, Any]
    typed: list[str]
    files: list[Path]
    data: LightningDataModule
    notes: list[str]
    import_folders: list[str]

    def yaml(self) -> str:
        """The configuration as YAML that `--config` takes; what `--print_config` prints."""
        return dump(self.config)


def prepare(argv: list[str]) -> Prepared:
    """Everything between the words and the objects of a run.

    Raises:
        UserError: If anything in files or overrides does not fit.
    """
    return prepare_composition(compose(argv))


def prepare_composition(composition: Composition) -> Prepared:
    """The same, from a configuration that is already composed."""
    folders = add_import_folders(composition.files)
    config = resolve(composition.config)
    check_sections(config)
    config[schema.SEED] = check_seed(config)
    config["data"] = check_section(schema.BY_NAME["data"], config["data"], {"seed": config[schema.SEED]})
    data = build_data(config["data"])
    known = {**known_from(data, config[schema.SEED]), **known_from_prediction(config["model"])}
    config = check(fill_name(config, composition.files), known)
    return Prepared(config, composition.config, composition.typed, composition.files, data, composition.notes, folders)


def known_from(data: LightningDataModule, seed: int) -> dict[str, Any]:
    """What the data knows and the model need not be told: `shape`, `num_classes`, and the seed of the run."""
    known: dict[str, Any] = {"seed": seed}
    for name in ("shape", "num_classes"):
        if hasattr(data, name):
            value = getattr(data, name)
            known[name] = [int(size) for size in value] if isinstance(value, Sequence) else value
    condition_dim = getattr(data, "condition_dim", None)
    if condition_dim is not None:
        known["condition_dim"] = condition_dim
    return known


def known_from_prediction(model: Any) -> dict[str, Any]:
    """How many outputs the network needs, where the prediction says so."""
    arguments = model.get(ARGS) if isinstance(model, dict) else None
    two = isinstance(arguments, dict) and arguments.get("prediction") == "velocity_and_score"
    return {"outputs": 2} if two else {}


def build_data(section: dict[str, Any]) -> LightningDataModule:
    """The data module of a checked section."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", fail_untyped=False, required=True)
    with located_errors({"data": section}):
        data = parser.instantiate_classes(parser.parse_object({"data": section})).data
    assert isinstance(data, LightningDataModule)
    return data


@contextmanager
def located_errors(config: dict[str, Any]) -> Iterator[None]:
    """Within, a constructor's UserError is raised as such, with its full dotted key.

    jsonargparse wraps what a constructor raises in errors of its own.
    """
    try:
        yield
    except Exception as error:
        cause = user_error_in(error)
        if cause is None:
            raise
        raise locate(cause, config) from error


def fill_name(config: dict[str, Any], files: list[Path]) -> dict[str, Any]:
    """The experiment's name, where none is given, is that of its first file."""
    run = config.get("run") or {}
    if isinstance(run, dict) and run.get("name") is None:
        config = {**config, "run": {**run, "name": files[0].stem if files else "run"}}
    return config
