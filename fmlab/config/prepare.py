"""From words to a configuration that is complete: composed, resolved, checked and filled from the data."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fmlab.config import schema
from fmlab.config.build import Context, Plan, plan, plan_arguments, plan_parameters
from fmlab.config.classes import extend_import_path, find_class
from fmlab.config.compose import Composition, compose, resolve, with_hidden_values
from fmlab.config.precheck import precheck
from fmlab.config.values import dump, read_file, show
from fmlab.errors import UserError
from fmlab.records import RunLayout, read_meta, write_meta
from fmlab.records.atomic import atomic_write_text
from fmlab.records.secrets import values_without_secrets, without_secrets


@dataclass(kw_only=True)
class Prepared(Composition):
    """A run as it was asked for.

    Attributes:
        config: Resolved, checked, with full import paths, and complete.
        data: The data module, built from its section.
        filled: The keys that were left out and taken from elsewhere, and from where.
        trust: Whether any class may be imported for it.
    """

    config: dict[str, Any]
    data: Any
    filled: dict[str, str]
    trust: bool

    def yaml(self) -> str:
        """The configuration as YAML that `--config` takes; what `--print_config` prints."""
        comments = [f"# {target} is that of {source}\n" for target, source in self.filled.items()]
        return "".join(comments) + dump(self.config)

    def write(self, layout: RunLayout) -> None:
        """Writes words, configuration, its files and the run's facts into a folder that exists, without secrets."""
        typed = values_without_secrets(self.typed)
        self.write_config(layout)
        atomic_write_text(layout.command, shlex.join(["fmlab", "fit", *typed]) + "\n")
        write_meta(layout, argv=typed, seed=self.config[schema.SEED], import_folders=self.import_folders)
        for file in self.files:
            layout.files.mkdir(exist_ok=True)
            atomic_write_text(layout.files / file.name, without_secrets(file.read_text()))

    def write_config(self, layout: RunLayout) -> None:
        """Writes the complete configuration, resolved and not, without secrets."""
        config = values_without_secrets(self.config)
        atomic_write_text(layout.config, replace(self, config=config).yaml())
        atomic_write_text(layout.raw_config, dump(values_without_secrets(self.raw)))


def prepare(
    argv: list[str], trust: bool = True, record: Path | None = None, folders: list[str] | None = None
) -> Prepared:
    """Everything between the words and the objects of a run.

    Args:
        argv: Configuration files and overrides.
        trust: Whether any class may be imported; a user's own configuration is trusted, another's run is not.
        record: The resolved configuration of the run whose files these are.
        folders: Where the user's own parts lie, if not beside the files and in the working directory.

    Raises:
        UserError: If anything in files or overrides does not fit.
    """
    if trust and folders is not None:
        extend_import_path(folders)
    composition = compose(argv, trust, record)
    if folders is not None:
        composition.import_folders = folders
    config = resolve(composition.raw, trust, composition.texts)
    if record is not None:
        config = with_hidden_values(config, trust)
    precheck(config)
    config = _with_name({**config, schema.SEED: check_seed(config)}, composition.files)
    context = Context(trust, composition.texts, schema.linked_values(config))
    data = plan_section(schema.BY_NAME["data"], config["data"], context).make()
    links = schema.linked_values(config, data)
    context = Context(trust, composition.texts, links, context.filled)
    written = check(config, context)
    filled = {target: schema.LINKS[target] for target in sorted(set(context.filled))}
    return Prepared(**vars(composition), config=written, data=data, filled=filled, trust=trust)


def prepare_resumed(layout: RunLayout, overrides: Iterable[str], trust: bool) -> Prepared:
    """What a resumed run is made of: its own configuration first, then what is typed now.

    What it says as `${...}` follows the new words, such as a schedule's length; the precision stays what it was.

    Raises:
        UserError: If anything that is typed does not fit, or would move the run.
    """
    recorded, overrides = read_file(layout.config), list(overrides)
    precision = (recorded.get("trainer") or {}).get("precision", "auto")
    before = {"dir": "runs", **(recorded.get("run") or {}), "name": layout.experiment}
    argv = ["--config", str(layout.raw_config), f"--trainer.precision={precision}", f"--run.name={layout.experiment}"]
    argv.append(f"--run.dir={before['dir']}")  # what an environment variable says now does not move the run
    prepared = prepare([*argv, *overrides], trust, layout.config, import_folders(layout, trust))
    for key in ("name", "dir"):
        if str(prepared.config["run"].get(key, "runs")) != str(before[key]):
            hint = "leave it out, or begin a new run with --config"
            raise UserError("a run that is resumed stays where it is", key=f"run.{key}", hint=hint)
    typed = ["--resume", str(layout.root), *(["--trust"] if trust else []), *overrides]
    return replace(prepared, typed=typed)


def import_folders(layout: RunLayout, trust: bool) -> list[str]:
    """Where the user's own parts of a run lay; nowhere for a run that is not trusted."""
    return list(read_meta(layout).get("import_folders", [])) if trust else []


def check(config: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The configuration with every class by its full import path, once all of it fits the constructors.

    Raises:
        UserError: At the first key that is unknown, missing or of a wrong type, and at the first class that is unknown.
    """
    written: dict[str, Any] = {schema.SEED: check_seed(config)}
    for section in schema.SECTIONS:
        if section.name in config:
            written[section.name] = plan_section(section, config[section.name], context).written
    return written


def needs_trust(config: Mapping[str, Any]) -> bool:
    """Whether a checked configuration names what a run that is not trusted may not."""
    try:
        check(config, Context(trust=False))
    except UserError:
        return True
    return False


def trust_option(config: Mapping[str, Any]) -> str:
    """` --trust` where a command that loads a run of this configuration needs it, for advice to the user."""
    return " --trust" if needs_trust(config) else ""


def check_seed(config: Mapping[str, Any]) -> int:
    """The seed of the run; a fixed one if the configuration names none."""
    seed = config.get(schema.SEED, schema.DEFAULT_SEED)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UserError(f"expected int, got {show(seed)}", key=schema.SEED)
    if not 0 <= seed < 2**32:
        raise UserError(f"expected 0 to {2**32 - 1}, got {seed}", key=schema.SEED)
    return seed


def plan_section(section: schema.Section, node: Any, context: Context) -> Plan:
    """One section, checked."""
    target = find_class(section.target, (object,), section.name)
    if section.component:
        return plan(node, target, section.name, context)
    if node is None:
        return Plan(None, lambda: None)
    if not isinstance(node, dict):
        raise UserError(f"expected `key: value` lines, got {show(node)}", key=section.name)
    return plan_arguments(target, node, section.name, context)


def make_section(name: str, node: Any, trust: bool = True) -> Any:
    """The object of a section of a checked configuration: the model, the data, a callback."""
    return plan_section(schema.BY_NAME[name], node, Context(trust)).make()


def make_arguments(name: str, node: dict[str, Any], trust: bool) -> dict[str, Any]:
    """The arguments of a section's class, made: callbacks and loggers as objects."""
    target = find_class(schema.BY_NAME[name].target, (object,), name)
    plans = plan_parameters(target, node, name, Context(trust))
    return {argument: planned.make() for argument, planned in plans.items()}


def _with_name(config: dict[str, Any], files: list[Path]) -> dict[str, Any]:
    """The experiment's name, where none is given, is that of its first file."""
    run = config.get("run") or {}
    if isinstance(run, dict) and run.get("name") is None:
        config = {**config, "run": {**run, "name": files[0].stem if files else "run"}}
    return config
