"""Configurations as dotted flags, what differs between them, and labels for what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Flags = dict[str, Any]
"""A configuration by the dotted keys of the command line: `model.path` is `VP`, `model.path.beta_max` is 20.0."""

SEED = "seed_everything"
PRESENT = "yes"
"""The value of a section that is present and names no class."""

_OUR_SEEDS = ("model.seed", "data.seed")
_BOOKKEEPING = ("run", "wandb", "tensorboard")
_TRAINER_BOOKKEEPING = ("logger", "enable_progress_bar", "enable_model_summary", "default_root_dir")
_WATCHES = ("checkpoint", "samples", "fid", "floor", "nonfinite", "throughput")
_WATCHES_IN_TRAINER = ("max_steps", "log_every_n_steps", "val_check_interval", "limit_val_batches")
_SHORTENED = ("fmlab.", "torch.optim.")


def flatten_config(config: Mapping[str, Any]) -> Flags:
    """Returns a resolved configuration by dotted keys, classes by their short names; lists count as plain values.

    The seeds of model and data are left out where they are the run's own.
    """
    flags = dict(pair for name, value in config.items() for pair in _flatten(name, value))
    return {key: value for key, value in flags.items() if key not in _OUR_SEEDS or value != flags.get(SEED)}


def _flatten(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield key, value
        return
    path = value.get("class_path")
    if not isinstance(path, str):
        yield key, PRESENT
    else:  # a class of the package or an optimizer by its name alone, the user's own by its path
        yield key, path.rpartition(".")[2] if path.startswith(_SHORTENED) else path
    for name, argument in _arguments(value, path).items():
        yield from _flatten(f"{key}.{name}", argument)


def _arguments(value: Mapping[str, Any], path: Any) -> Mapping[str, Any]:
    arguments = value.get("init_args") if isinstance(path, str) else value
    return arguments if isinstance(arguments, Mapping) else {}


def deciding_flags(flags: Flags) -> Flags:
    """Returns the flags that decide a run's numbers beside its seed: without its name and where it logs to."""
    return {
        key: value
        for key, value in flags.items()
        if key != SEED
        and key.partition(".")[0] not in _BOOKKEEPING
        and not (key.startswith("trainer.") and key.split(".")[1] in _TRAINER_BOOKKEEPING)
    }


def differing_keys(configurations: Sequence[Flags]) -> list[str]:
    """Lists the keys whose values differ, in the order of the configurations.

    An argument that only some have because they name another class does not differ: the class does. A section that is
    missing counts as null.
    """
    keys = dict.fromkeys(key for flags in configurations for key in flags)
    return [key for key in keys if _differs(key, configurations)]


def _differs(key: str, configurations: Sequence[Flags]) -> bool:
    owners = [flags for flags in configurations if key in flags]
    if len({_hashable(flags[key]) for flags in owners}) > 1:
        return True
    if len(owners) == len(configurations) or owners[0][key] is None:
        return False
    parent = key.rpartition(".")[0]
    return not parent or len({_hashable(flags.get(parent)) for flags in configurations}) == 1


def describe_changes(before: Flags, after: Flags) -> str:
    """Writes what changed for the training of a run that was resumed; empty where nothing did.

    More steps alone change nothing: what depends on their number, such as a schedule, is a key of its own.
    """
    relevant = [{k: v for k, v in flags.items() if not _watches(k)} for flags in (before, after)]
    keys = differing_keys([{**deciding_flags(flags), SEED: flags.get(SEED)} for flags in relevant])
    return ", ".join(f"{key} {text(before.get(key))} -> {text(after.get(key))}" for key in keys)


def _watches(key: str) -> bool:
    section, _, rest = key.partition(".")
    return section in _WATCHES or (section == "trainer" and rest in _WATCHES_IN_TRAINER)


def shared_flags(configurations: Sequence[Flags]) -> Flags:
    """Returns the flags that all configurations share."""
    first, *others = configurations or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(key in flags and _hashable(flags[key]) == _hashable(value) for flags in others)
    }


def identity(flags: Flags) -> tuple[tuple[str, Any], ...]:
    """Returns a hashable value that two sets of flags share if and only if they are equal."""
    return tuple(sorted((key, _hashable(value)) for key, value in flags.items()))


def _hashable(value: Any) -> Any:
    """A hashable stand-in; a whole number and the same number with a point are equal."""
    if isinstance(value, bool):
        return ("bool", value)
    return (type(value).__name__, repr(value)) if isinstance(value, (list, tuple, dict)) else value


def label(flags: Flags, keys: Iterable[str]) -> str:
    """Writes what sets a configuration apart, short: `path=VP, path.beta_max=12`."""
    return ", ".join(
        f"{key.removeprefix('model.').removeprefix('trainer.')}={text(flags[key])}" for key in keys if key in flags
    )


def text(value: Any) -> str:
    """Writes a value as one would type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(text, value)) + "]"
    return str(value)
