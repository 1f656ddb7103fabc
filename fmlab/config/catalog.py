"""What the package offers, read from its own source files by `ast`: nothing is imported, so it answers at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Kind:
    """A word that `fmlab list` knows.

    A class counts if the room exports it in `__all__` and derives from one of the bases without being one.

    Attributes:
        name: The word.
        room: The folder of the classes.
        bases: The names of the bases.
        key: Where such a class is named in a configuration.
        about: One line of help.
        supplied: How many leading arguments a configuration leaves to the code.
    """

    name: str
    room: str
    bases: frozenset[str]
    key: str
    about: str
    supplied: int = 0


def _kind(name: str, room: str, bases: str, key: str, about: str, supplied: int = 0) -> Kind:
    return Kind(name, room, frozenset(bases.split()), key, about, supplied)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("models", "training", "GenerativeModule NetworkModule", "model", "what is trained"),
        _kind("networks", "networks", "Network DiffusersNetwork", "model.network", "networks"),
        _kind("paths", "paths", "GaussianPath ProbabilityPath", "model.path", "probability paths"),
        _kind("time_samplers", "objectives", "TimeSampler", "model.time_sampler", "where training draws t"),
        _kind("couplings", "objectives", "Coupling", "model.coupling", "which draw of the source goes with which data"),
        _kind("weights", "objectives", "Weight", "model.weight", "how much the error counts at each time"),
        _kind("losses", "objectives", "Loss", "model.loss", "what is made of an error"),
        _kind("distributions", "distributions", "Distribution Shape2D", "model.source", "laws with known samples"),
        _kind("lr_schedulers", "training", "LRScheduler", "model.lr_scheduler", "learning-rate schedules", supplied=1),
        _kind("data", "data", "DataModule ImageData", "data", "data sets"),
        _kind("solvers", "solvers", "Solver", "samples.solver", "ODE and SDE solvers"),
        _kind("grids", "solvers", "Grid", "samples.grid", "time grids of a solve"),
        _kind("diffusions", "solvers", "DiffusionCoefficient", "samples.solver.diffusion", "noise of an SDE solve"),
        _kind("processes", "figures", "Process", "process", "SDEs and ODEs of known law, for fmlab draw process"),
    )
}


@dataclass(frozen=True)
class Entry:
    """A class (or a function that makes an object) in the package's source.

    Attributes:
        name: Its name.
        room: The folder through which it is exported.
        module: The module that defines it.
        node: Its syntax tree.
    """

    name: str
    room: str
    module: str
    node: ast.ClassDef | ast.FunctionDef

    @property
    def path(self) -> str:
        """The import path users may write, through the room."""
        return f"fmlab.{self.room}.{self.name}"

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(self.node) or "").split("\n", 1)[0]

    @property
    def kind(self) -> Kind | None:
        """The list it stands in."""
        return next((kind for kind in KINDS.values() if self.is_a(kind)), None)

    def is_a(self, kind: Kind) -> bool:
        if not isinstance(self.node, ast.ClassDef) or self.room != kind.room or self.name in kind.bases:
            return False
        return any(base.name in kind.bases for base in self.ancestors()) or bool(kind.bases & set(self.foreign_bases()))

    def bases(self) -> Iterator[Entry | str]:
        """The bases it names; those of other packages by their names alone."""
        if isinstance(self.node, ast.ClassDef):
            for name in map(_name, self.node.bases):
                yield _find_in_module(self.module, name) or name

    def ancestors(self) -> Iterator[Entry]:
        """The bases within the package, transitively, nearest first."""
        for base in self.bases():
            if isinstance(base, Entry):
                yield base
                yield from base.ancestors()

    def foreign_bases(self) -> Iterator[str]:
        """The names of the bases from other packages, its ancestors' included."""
        for entry in (self, *self.ancestors()):
            yield from (base for base in entry.bases() if isinstance(base, str))

    def arguments(self) -> dict[str, Argument] | None:
        """What its constructor takes, inherited arguments included; None where a base of another package decides."""
        function = self.node if isinstance(self.node, ast.FunctionDef) else _constructor(self.node)
        arguments: dict[str, Argument] = {}
        if function is not None:
            arguments = _arguments_of(function, self.module)
            if function.args.kwarg is None:
                return arguments
        elif isinstance(self.node, ast.ClassDef) and _is_dataclass(self.node):
            return _fields(self.node, self.module)
        bases = list(self.bases())
        if not bases:
            return arguments
        inherited = bases[0].arguments() if isinstance(bases[0], Entry) else _ARGUMENTS_OF.get(bases[0])
        if inherited is None:
            return None
        return {**arguments, **{name: inherited[name] for name in inherited if name not in arguments}}


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor.

    Attributes:
        hint: Its type hint, or None.
        default: Its default, or None where it has to be given.
        module: The module in which the names of the hint stand.
    """

    hint: ast.expr | None
    default: ast.expr | None
    module: str

    def classes(self) -> list[Entry]:
        """The package's classes that its hint names."""
        names = {_name(node) for node in ast.walk(self.hint) if isinstance(node, ast.Name)} if self.hint else set()
        entries = [_find_in_module(self.module, name) for name in sorted(names)]
        return [entry for entry in entries if entry and isinstance(entry.node, ast.ClassDef)]


_ARGUMENTS_OF: Mapping[str, dict[str, Argument]] = {name: {} for name in ("ABC", "Protocol", "Callback", "Module")}
"""Bases of other packages whose constructors take nothing."""


def predictions() -> list[tuple[str, str]]:
    """What a network may output, each with a line on it."""
    descriptions = {
        "velocity": "the path's velocity, dx/dt",
        "score": "the gradient of the log-density",
        "noise": "the noise in x_t",
        "data": "the data in x_t",
        "velocity_and_score": "both, from a network with outputs: 2; for paths on which neither gives the other",
    }
    for node in _parsed(_source("fmlab.paths.base")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Output":
            return [(word, descriptions.get(word, "")) for word in ast.literal_eval(node.value.slice)]  # type: ignore[attr-defined]
    return []


def rooms() -> list[str]:
    """The folders of the package that are packages themselves."""
    return sorted(init.parent.name for init in PACKAGE.glob("*/__init__.py"))


def of_kind(kind: str) -> list[Entry]:
    """The entries of a kind, by name."""
    room = KINDS[kind].room
    entries = [find_entry(f"fmlab.{room}", name) for name in public_names(f"fmlab.{room}")]
    return sorted((entry for entry in entries if entry and entry.is_a(KINDS[kind])), key=lambda one: one.name.lower())


def named(name: str) -> list[Entry]:
    """Every exported entry with that short name, whatever the room."""
    modules = [f"fmlab.{room}" for room in rooms()]
    entries = [find_entry(module, name) for module in modules if name in public_names(module)]
    return [entry for entry in entries if entry]


@cache
def find_entry(module: str, name: str) -> Entry | None:
    """What a module of the package defines or imports by this name."""
    room = module.split(".")[1] if "." in module else ""
    return _find_in_module(module, name, room)


def exported_names() -> list[str]:
    """Every name that a room of the package exports."""
    return [name for room in rooms() for name in public_names(f"fmlab.{room}")]


@cache
def public_names(module: str) -> frozenset[str]:
    """What a module's `__all__` lists, its source read wherever it is installed; nothing is imported."""
    for node in _parsed(_source(module)).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return frozenset(str(part.value) for part in ast.walk(node.value) if isinstance(part, ast.Constant))
    return frozenset()


@dataclass(frozen=True)
class Experiment:
    """An experiment file and the first sentence of its header, after the command."""

    name: str
    path: Path
    about: str


def experiments(folder: Path = Path("experiments")) -> list[Experiment]:
    """The experiment files under a folder."""
    return [Experiment(path.stem, path, _header(path)) for path in sorted(folder.glob("*.yaml"))]


def _header(path: Path) -> str:
    """The first sentence of the comment at the top; a line with the command itself says nothing new."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            break
        lines.append(line.strip("# "))
    text = " ".join(line for line in lines if line and not line.startswith("fmlab "))
    sentence, stop, _ = text.partition(". ")
    return sentence + "." if stop else text


def _find_in_module(module: str, name: str, room: str = "") -> Entry | None:
    """The entry that a name means in a module, its imports within the package followed."""
    if not module.startswith("fmlab."):
        return None
    definitions, imports = _contents(module)
    if name in definitions:
        return Entry(name, room or module.split(".")[1], module, definitions[name])
    if name in imports and imports[name] != (module, name):
        return _find_in_module(*imports[name], room)
    return None


@cache
def _contents(module: str) -> tuple[dict[str, ast.ClassDef | ast.FunctionDef], dict[str, tuple[str, str]]]:
    """The classes and functions at the top of a module, and whence it imports which names."""
    definitions: dict[str, ast.ClassDef | ast.FunctionDef] = {}
    imports: dict[str, tuple[str, str]] = {}
    nodes = list(_parsed(_source(module)).body)
    for node in nodes:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            definitions[node.name] = node
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.If):  # if TYPE_CHECKING
            nodes.extend(node.body)
    return definitions, imports


@cache
def _source(module: str) -> Path:
    """The file of a module; only the package around it is looked for, never imported."""
    package, *parts = module.split(".")
    spec = None if package == "fmlab" else find_spec(package)
    root = PACKAGE if spec is None else Path((spec.submodule_search_locations or ["no package"])[0])
    folder = root.joinpath(*parts)
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


@cache
def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"), str(file))
    except (SyntaxError, OSError):  # reported properly when the module is imported
        return ast.Module(body=[], type_ignores=[])


def _constructor(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)


def _arguments_of(function: ast.FunctionDef, module: str) -> dict[str, Argument]:
    taken = function.args
    positional = [*taken.posonlyargs, *taken.args]
    defaults = [None] * (len(positional) - len(taken.defaults)) + list(taken.defaults)
    pairs = [*zip(positional, defaults), *zip(taken.kwonlyargs, taken.kw_defaults)]
    return {one.arg: Argument(one.annotation, default, module) for one, default in pairs if one.arg != "self"}


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(ast.unparse(decorator).startswith("dataclass") for decorator in node.decorator_list)


def _fields(node: ast.ClassDef, module: str) -> dict[str, Argument]:
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return {ast.unparse(field.target): Argument(field.annotation, field.value, module) for field in fields}


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
