"""The options of a verb: a frozen dataclass of plain types, read from the words of the command line.

A field is an option of its own name: `num_samples: int` is `--num_samples 5` or `--num_samples=5`, a `bool` is a flag,
a tuple takes a list with commas. A `Component` names a class and its arguments (`--solver Heun --solver.x=1`), a
`Mapping` takes every dotted name (`--slurm.time 1:00:00`). The markers below say what name and type cannot. Ranges are
those of `annotated_types`: `Annotated[int, Ge(1)]`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from fmlab.config.arguments import KEY, is_value, take_value
from fmlab.config.hints import Mismatch, fit, literals_of, members
from fmlab.config.values import read_value, show
from fmlab.errors import UserError, nearest

T = TypeVar("T")

NULL = ("null", "None", "~")
"""What an option may be set to so that it is left out, as sweeps do."""


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
    """Marks a field whose option has another name, without its dashes: `dry-run`, `guidance.scale`."""

    name: str


class Repeated:
    """Marks a tuple to which every use of the option adds one item, which may hold commas."""


class Overrides:
    """Marks the tuple that takes all words the dataclass does not know: `--config FILE` and keys of a configuration."""


class Typed:
    """Marks the tuple that holds all words as they were typed, for a record; it is not an option."""


@dataclass(frozen=True)
class OptionField:
    """One field of a dataclass, as an option.

    Args:
        field: The field's name.
        name: The option without its dashes.
        hint: Its type, with ranges.
        default: Its default, or `dataclasses.MISSING`.
        positional: What stands for it in the help, if it may be given without its name.
        marker: `Repeated`, `Overrides` or `Typed`, if it has such a marker.
    """

    field: str
    name: str
    hint: Any
    default: Any
    positional: str | None
    marker: type | None

    @property
    def is_open(self) -> bool:
        """Whether it takes every `--name.anything VALUE`, and nothing else."""
        return get_origin(self.hint) is Mapping

    @property
    def is_needed(self) -> bool:
        return self.default is dataclasses.MISSING


def option_fields(options: type) -> list[OptionField]:
    """The fields of a dataclass as options."""
    hints = get_type_hints(options, include_extras=True)
    fields = []
    for item in dataclasses.fields(options):
        hint, *extras = get_args(hints[item.name]) if get_origin(hints[item.name]) is Annotated else (hints[item.name],)
        name, positional, marker = item.name, None, None
        for extra in extras:
            if isinstance(extra, Named):
                name = extra.name
            elif isinstance(extra, Positional):
                positional = extra.metavar
            elif isinstance(extra, (Repeated, Overrides, Typed)):
                marker = type(extra)
            else:
                hint = Annotated[hint, extra]
        default = item.default_factory() if callable(item.default_factory) else item.default
        fields.append(OptionField(item.name, name, hint, default, positional, marker))
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
    fields = option_fields(options)
    values = _Reader(fields, command).read(list(argv))
    for item in fields:
        if item.marker is Typed:
            values[item.field] = tuple(argv)
        elif item.is_needed and item.field not in values:
            label = item.positional or f"--{item.name}"
            raise UserError(f"{label} is missing", key=command, hint=f"fmlab {command} --help")
    return options(**values)


def convert(name: str, text: str, hint: Any) -> Any:
    """A text as a value of a type; a tuple takes a list with commas, each value once.

    Args:
        name: The option, for messages.
        text: What was typed.
        hint: The type, with ranges.

    Raises:
        UserError: If it is no such value.
    """
    if text in NULL and type(None) in members(hint):
        return None
    if items := next((get_args(member) for member in members(hint) if is_list(member)), None):
        texts = split_list(name, text)
        if Ellipsis in items:
            return tuple(dict.fromkeys(convert(name, item, items[0]) for item in texts))
        if len(texts) != len(items):
            raise UserError(f"expected {len(items)} values with commas, got {show(text)}", key=name)
        return tuple(convert(name, item, item_hint) for item, item_hint in zip(texts, items))
    try:
        return fit(hint, text)
    except Mismatch:
        pass
    try:
        return fit(hint, read_value(text))
    except Mismatch as error:
        choices = literals_of(hint)
        raise UserError(str(error), key=name, hint=nearest(text, choices) if choices else None) from None


def split_list(name: str, text: str) -> list[str]:
    """`Euler,Heun` or `[0.1, 0.9]` as a list; commas within brackets separate nothing.

    Raises:
        UserError: If nothing stands between two commas.
    """
    bare = text.strip()
    bare = bare[1:-1] if re.fullmatch(r"\[[^\[\]]*\]|\([^()]*\)", bare) else bare
    items = [item.strip() for item in re.split(r",(?![^\[({]*[\])}])", bare)]
    if not all(items):
        raise UserError(f"cannot read {text!r}", key=name, hint="write one value, or several with commas")
    return items


def is_list(hint: Any) -> bool:
    """Whether a type takes a list with commas."""
    return get_origin(hint) is tuple


class _Reader:
    """Goes through the words once and collects the value of each field by its name."""

    def __init__(self, fields: Sequence[OptionField], command: str) -> None:
        self.command = command
        self.by_name = {item.name: item for item in fields if item.marker in (None, Repeated) and not item.is_open}
        self.owners = {item.name: item for item in fields if item.hint is Component or item.is_open}
        self.positionals = [item for item in fields if item.positional]
        self.overrides = next((item for item in fields if item.marker is Overrides), None)
        self.values: dict[str, Any] = {}

    def read(self, argv: list[str]) -> dict[str, Any]:
        while argv:
            word = argv.pop(0)
            name, equals, text = word.partition("=")
            option = name[2:] if name.startswith("--") else ""
            owner, _, argument = option.partition(".")
            if not word.startswith("-") or word == "-":
                self._read_bare(word)
            elif (item := self.by_name.get(option)) is not None:
                if item.hint is bool and not equals:
                    self.values[item.field] = True
                else:
                    self._assign(item, text if equals else take_value(name, argv))
            elif argument and owner in self.owners:
                self._assign_argument(self.owners[owner], argument, text if equals else take_value(name, argv))
            elif self.overrides is None or self._resembles_option(name):
                raise self._unknown(name)
            else:
                self._add(self.overrides, word)
                if not equals and argv and is_value(argv[0]):
                    self._add(self.overrides, argv.pop(0))
        return self.values

    def _read_bare(self, word: str) -> None:
        """A word without dashes: the next positional, or an override such as `model.path=VP`."""
        is_override = self.overrides is not None and "=" in word and KEY.fullmatch(word.partition("=")[0])
        free = [item for item in self.positionals if item.field not in self.values or is_list(item.hint)]
        if free and not is_override:
            self._add(free[0], word) if is_list(free[0].hint) else self._assign(free[0], word)
        elif self.overrides is not None:
            self._add(self.overrides, word)
        else:
            raise UserError("is not an option", key=word, hint=f"fmlab {self.command} --help")

    def _resembles_option(self, name: str) -> bool:
        return bool(difflib.get_close_matches(name, [f"--{option}" for option in self.by_name], n=1, cutoff=0.8))

    def _assign(self, item: OptionField, text: str) -> None:
        if item.hint is Component:
            given = self.values.get(item.field, Component())
            self.values[item.field] = dataclasses.replace(given, name=None if text in NULL else text)
        elif item.marker is Repeated:
            self._add(item, text)
        else:
            self.values[item.field] = convert(item.name, text, item.hint)

    def _assign_argument(self, item: OptionField, argument: str, text: str) -> None:
        given = self.values.get(item.field, {} if item.is_open else item.default)
        if item.is_open:
            self.values[item.field] = {**given, argument: text}
        else:
            self.values[item.field] = Component(given.name, {**given.arguments, argument: read_value(text)})

    def _add(self, item: OptionField, text: str) -> None:
        self.values[item.field] = (*self.values.get(item.field, ()), text)

    def _unknown(self, name: str) -> UserError:
        """The answer to an option that there is not, with the nearest: `--dry_run`, `--guidance_scale`, `--n`."""
        options = [f"--{option}" for option, item in self.by_name.items() if not item.positional]
        options += [f"--{option}.NAME" for option, item in self.owners.items() if item.is_open]
        plain = re.sub(r"\W|_", "", name)
        same = [option for option in options if re.sub(r"\W|_", "", option) == plain]
        longer = [option for option in options if option.startswith(f"--{name.lstrip('-')}")]
        matches = same[:1] or longer[:3]
        hint = f"did you mean {' or '.join(matches)}?" if matches else nearest(name, options)
        hint = hint if hint.startswith("did") else f"fmlab {self.command} --help lists the options"
        return UserError(f"fmlab {self.command} has no such option", key=name, hint=hint)
