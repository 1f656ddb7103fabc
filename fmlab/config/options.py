"""The options of a verb: a frozen dataclass of plain types, read from the words of the command line.

A field is an option of its own name: `num_samples: int` is `--num_samples 5` or `--num_samples=5`, a `bool` is a flag,
a tuple takes a list with commas. A nested dataclass gives dotted options (`--guidance.scale 2`), a `Component` names a
class and its arguments (`--solver Heun --solver.x=1`), a `Mapping` takes every dotted name (`--slurm.time 1:00:00`).
The markers below say what name and type cannot. Ranges are those of `annotated_types`: `Annotated[int, Ge(1)]`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from fmlab.config.arguments import is_value, take_value
from fmlab.config.option_values import NULL, convert, is_list
from fmlab.config.values import read_value
from fmlab.errors import UserError, nearest

T = TypeVar("T")
KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")


@dataclass(frozen=True)
class Component:
    """A part as options name it, to be built when the run is loaded.

    Args:
        name: The class; None where no option names one. A verb that measures a grid takes several with commas.
        arguments: Constructor arguments by their dotted names.
    """

    name: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Positional:
    """Marks a field that is given without its name, in the order of the fields; `--run digits` means the same.

    Args:
        metavar: What stands for it in the help.
    """

    metavar: str = "RUN"


@dataclass(frozen=True)
class Named:
    """Marks a field whose option is not called as the field is, such as `--dry-run` or `--ema.std`.

    Args:
        name: The option without its dashes.
    """

    name: str


@dataclass(frozen=True)
class Repeated:
    """Marks a tuple to which every use of the option adds one item, which may hold commas."""


@dataclass(frozen=True)
class Overrides:
    """Marks the tuple that takes all words the dataclass does not know: `--config FILE` and keys of a configuration."""


@dataclass(frozen=True)
class Typed:
    """Marks the tuple that holds all words as they were typed, for a record; it is not an option."""


@dataclass(frozen=True)
class OptionField:
    """One field of a dataclass, as an option.

    Args:
        path: Names of the fields that lead to it.
        name: The option without its dashes.
        hint: Its type, with ranges.
        default: Its default, or `dataclasses.MISSING`.
        owner: The dataclass whose docstring describes it.
        positional: What stands for it in the help, if it may be given without its name.
        repeated: Whether every use adds an item.
        overrides: Whether it takes what no other field does.
    """

    path: tuple[str, ...]
    name: str
    hint: Any
    default: Any
    owner: type
    positional: str | None = None
    repeated: bool = False
    overrides: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it takes every `--name.anything VALUE`, and nothing else."""
        return get_origin(self.hint) is Mapping


def option_fields(
    options: type, path: tuple[str, ...] = (), prefix: str = "", default: Any = None
) -> list[OptionField]:
    """The fields of a dataclass as options, those of nested dataclasses with dotted names.

    Args:
        options: The dataclass.
        path: Names of the fields that lead to it, where it is nested.
        prefix: What stands before the names of its options.
        default: The object that a nested dataclass is if no option is given.
    """
    hints = get_type_hints(options, include_extras=True)
    fields: list[OptionField] = []
    for item in dataclasses.fields(options):
        hint, markers = _split_markers(hints[item.name])
        if Typed() in markers:
            continue
        default_value = item.default_factory() if callable(item.default_factory) else item.default
        default_value = default_value if default is None else getattr(default, item.name)
        name = prefix + next((marker.name for marker in markers if isinstance(marker, Named)), item.name)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type) and hint is not Component:
            fields += option_fields(hint, (*path, item.name), f"{name}.", default_value)
            continue
        metavar = next((marker.metavar for marker in markers if isinstance(marker, Positional)), None)
        repeated, overrides = (any(isinstance(marker, kind) for marker in markers) for kind in (Repeated, Overrides))
        fields.append(OptionField((*path, item.name), name, hint, default_value, options, metavar, repeated, overrides))
    return fields


def parse_options(options: type[T], argv: Sequence[str], command: str) -> T:
    """The options that the words give.

    Args:
        options: The dataclass.
        argv: The words after the verb.
        command: The verb, as the user typed it, for messages.

    Raises:
        UserError: If an option is unknown or missing, or a value does not fit.
    """
    reader = _Reader(option_fields(options), command)
    reader.read(list(argv))
    for item in reader.fields:
        if item.default is dataclasses.MISSING and item.path not in reader.values:
            label = item.positional or f"--{item.name}"
            raise UserError(f"{label} is missing", key=command, hint=f"fmlab {command} --help")
    hints = get_type_hints(options, include_extras=True)
    typed = {name: tuple(argv) for name, hint in hints.items() if Typed() in _split_markers(hint)[1]}
    return options(**_given(options, reader.values, ()), **typed)


class _Reader:
    """Goes through the words once and collects the value of each field.

    Args:
        fields: The fields.
        command: The verb, for messages.

    Attributes:
        values: Values that were given, by the fields' paths.
    """

    def __init__(self, fields: Sequence[OptionField], command: str) -> None:
        self.fields, self.command = fields, command
        self.by_name = {item.name: item for item in fields if not item.overrides and not item.is_open}
        self.owners = {item.name: item for item in fields if item.hint is Component or item.is_open}
        self.positionals = [item for item in fields if item.positional]
        self.overrides = next((item for item in fields if item.overrides), None)
        self.values: dict[tuple[str, ...], Any] = {}

    def read(self, argv: list[str]) -> None:
        """Reads all words."""
        while argv:
            word = argv.pop(0)
            name, equals, text = word.partition("=")
            if not word.startswith("-") or word == "-":
                self._read_bare(word)
            elif (item := self.by_name.get(name[2:])) is not None and name.startswith("--"):
                self._assign(item, text if equals else None if item.hint is bool else take_value(name, argv))
            elif (owner := self._owner(name)) is not None:
                self._assign_argument(owner, name[2:], text if equals else take_value(name, argv))
            elif self.overrides is None:
                raise self._unknown(name)
            else:
                self._override(word, argv)

    def _read_bare(self, word: str) -> None:
        """A word without dashes: the next positional, or an override such as `model.path=VP`."""
        is_override = self.overrides is not None and "=" in word and KEY.fullmatch(word.partition("=")[0])
        free = [item for item in self.positionals if item.path not in self.values or is_list(item.hint)]
        if free and not is_override:
            self._assign(free[0], word, add=True)
        elif self.overrides is not None:
            self._add(self.overrides, word)
        else:
            raise UserError("is not an option", key=word, hint=f"fmlab {self.command} --help")

    def _override(self, word: str, argv: list[str]) -> None:
        """An option that is a key of the configuration, with its value; not what looks like an option misspelt."""
        name = word.partition("=")[0]
        if difflib.get_close_matches(name, [f"--{option}" for option in self.by_name], n=1, cutoff=0.8):
            raise self._unknown(name)
        assert self.overrides is not None
        self._add(self.overrides, word)
        if "=" not in word and argv and is_value(argv[0]):
            self._add(self.overrides, argv.pop(0))

    def _owner(self, name: str) -> OptionField | None:
        """The component or mapping that `--solver.x` is an argument of."""
        first, _, argument = name.removeprefix("--").partition(".")
        return self.owners.get(first) if argument and name.startswith("--") else None

    def _assign(self, item: OptionField, text: str | None, *, add: bool = False) -> None:
        """Sets a field to a text; None is a flag without a value."""
        if item.hint is Component:
            given = self.values.get(item.path, Component())
            self.values[item.path] = dataclasses.replace(given, name=None if text in NULL else text)
        elif text is None:
            self.values[item.path] = True
        elif item.repeated or (add and is_list(item.hint)):
            self._add(item, text)
        else:
            self.values[item.path] = convert(item.name, text, item.hint)

    def _assign_argument(self, item: OptionField, name: str, text: str) -> None:
        argument = name.partition(".")[2]
        if item.hint is not Component:
            self.values[item.path] = {**self.values.get(item.path, {}), argument: text}
            return
        given = self.values.get(item.path, item.default)
        self.values[item.path] = Component(given.name, {**given.arguments, argument: read_value(text)})

    def _add(self, item: OptionField, text: str) -> None:
        self.values[item.path] = (*self.values.get(item.path, ()), text)

    def _unknown(self, name: str) -> UserError:
        """The answer to an option that there is not, with the nearest that there is."""
        options = [f"--{option}" for option, item in self.by_name.items() if not item.positional]
        options += [f"--{option}.NAME" for option, item in self.owners.items() if item.is_open]
        hint = _other_spelling(name, options) or nearest(name, options)
        hint = hint if hint.startswith("did") else f"fmlab {self.command} --help lists the options"
        return UserError(f"fmlab {self.command} has no such option", key=name, hint=hint)


def _other_spelling(name: str, options: Sequence[str]) -> str | None:
    """The option that is meant by `--dry_run`, `--guidance_scale` or the beginning `--n`."""
    plain = re.sub(r"\W|_", "", name)
    same = [option for option in options if re.sub(r"\W|_", "", option) == plain]
    longer = [option for option in options if option.startswith(f"--{name.lstrip('-')}")]
    matches = same[:1] or longer[:3]
    return f"did you mean {' or '.join(matches)}?" if matches else None


def _split_markers(hint: Any) -> tuple[Any, list[Any]]:
    """A hint without the markers of this file, and the markers."""
    if get_origin(hint) is not Annotated:
        return hint, []
    base, *extras = get_args(hint)
    markers = [extra for extra in extras if isinstance(extra, (Positional, Named, Repeated, Overrides, Typed))]
    for extra in extras:
        if extra not in markers:
            base = Annotated[base, extra]
    return base, markers


def _given(options: Any, values: Mapping[tuple[str, ...], Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a dataclass for which there are values, nested dataclasses changed in part."""
    given: dict[str, Any] = {}
    for item in dataclasses.fields(options):
        inner = (*path, item.name)
        if inner in values:
            given[item.name] = values[inner]
        elif any(key[: len(inner)] == inner for key in values):
            default = item.default_factory() if callable(item.default_factory) else item.default
            given[item.name] = dataclasses.replace(default, **_given(default, values, inner))  # type: ignore[type-var]
    return given
