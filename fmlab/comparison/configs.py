"""Configurations as the words a user would type, what differs between them, and names for what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Flags = dict[str, Any]
"""A configuration by the dotted keys of the command line: `model.path` is `VP`, `model.path.beta_max` is 20.0."""

SEED = "seed_everything"
PRESENT = "yes"
"""What the key of a section holds that is there and names no class."""

_OUR_SEEDS = ("model.seed", "data.seed")
_BOOKKEEPING = ("run", "wandb", "tensorboard")
_TRAINER_BOOKKEEPING = ("logger", "enable_progress_bar", "enable_model_summary", "default_root_dir")
_ROOMS = ("fmlab.", "torch.optim.")


def flags(config: Mapping[str, Any]) -> Flags:
    """A resolved configuration by dotted keys, classes by their short names; lists count as plain values.

    The seeds of model and data, which are the run's where nothing else is said, are left out where they are.
    """
    found: Flags = {}
    for name, value in config.items():
        _collect(name, value, found)
    for key in _OUR_SEEDS:
        if key in found and found[key] == found.get(SEED):
            del found[key]
    return found


def _collect(key: str, value: Any, found: Flags) -> None:
    if not isinstance(value, Mapping):
        found[key] = value
        return
    named = "class_path" in value
    found[key] = _short(str(value["class_path"])) if named else PRESENT
    inside = (value.get("init_args") or {}) if named else value
    for name, argument in inside.items():
        _collect(f"{key}.{name}", argument, found)


def _short(path: str) -> str:
    """A class of the package or an optimizer by its name alone, the user's own by its path."""
    return path.rpartition(".")[2] if path.startswith(_ROOMS) else path


def decisive(found: Flags) -> Flags:
    """What decides a run's numbers beside its seed: neither its name nor where it logs to."""
    return {
        key: value
        for key, value in found.items()
        if key != SEED
        and key.partition(".")[0] not in _BOOKKEEPING
        and not (key.startswith("trainer.") and key.split(".")[1] in _TRAINER_BOOKKEEPING)
    }


def differing(configurations: Sequence[Flags]) -> list[str]:
    """The keys that do not hold the same everywhere, in the order of the configurations.

    An argument that only some have because they name another class does not differ: the class does. A section that is
    missing is as one that is null.
    """
    keys = dict.fromkeys(key for one in configurations for key in one)
    return [key for key in keys if _differs(key, configurations)]


def _differs(key: str, configurations: Sequence[Flags]) -> bool:
    there = [one for one in configurations if key in one]
    if len({_frozen(one[key]) for one in there}) > 1:
        return True
    if len(there) == len(configurations) or there[0][key] is None:
        return False
    parent = key.rpartition(".")[0]
    return not parent or len({_frozen(one.get(parent)) for one in configurations}) == 1


def shared(configurations: Sequence[Flags]) -> Flags:
    """What holds in all of them."""
    first = configurations[0] if configurations else {}
    return {
        key: value
        for key, value in first.items()
        if all(key in one and _frozen(one[key]) == _frozen(value) for one in configurations)
    }


def identity(found: Flags) -> tuple[tuple[str, Any], ...]:
    """Something hashable that two sets of flags have in common if and only if they are equal."""
    return tuple(sorted((key, _frozen(value)) for key, value in found.items()))


def _frozen(value: Any) -> Any:
    """A hashable stand-in; a whole number and the same number with a point are one."""
    if isinstance(value, bool):
        return ("bool", value)
    return (type(value).__name__, repr(value)) if isinstance(value, (list, tuple, dict)) else value


def label(found: Flags, keys: Iterable[str]) -> str:
    """What sets a configuration apart, short: `path=VP, path.beta_max=12`."""
    parts = [f"{_tail(key)}={text(found[key])}" for key in keys if key in found]
    return ", ".join(parts)


def _tail(key: str) -> str:
    """A key without the sections that everybody knows it by."""
    return key.removeprefix("model.").removeprefix("trainer.")


def text(value: Any) -> str:
    """A value as one would type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(text, value)) + "]"
    return str(value)
