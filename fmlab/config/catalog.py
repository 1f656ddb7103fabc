"""What the package offers, read from its own source files by `ast`: nothing is imported, so it answers at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

PREDICTIONS: Mapping[str, str] = {
    "velocity": "the path's velocity, dx/dt",
    "score": "the gradient of the log-density",
    "noise": "the noise in x_t",
    "data": "the data in x_t",
    "velocity_and_score": "both, from a network with outputs: 2; for paths on which neither gives the other",
}
"""What a network may output."""


@dataclass(frozen=True)
class Kind:
    """A word that `fmlab list` knows.

    A class counts if the room exports it in `__all__` and derives from one of the bases without being one.

    Attributes:
        room: The folder of the classes.
        bases: The names of the bases, with blanks between them.
        key: Where such a class is named in a configuration.
        about: One line of help.
        supplied: How many leading arguments a configuration leaves to the code.
    """

    room: str
    bases: str
    key: str
    about: str
    supplied: int = 0


KINDS: Mapping[str, Kind] = {
    "models": Kind("training", "GenerativeModule NetworkModule", "model", "what is trained"),
    "networks": Kind("networks", "Network DiffusersNetwork", "model.network", "networks"),
    "paths": Kind("paths", "GaussianPath ProbabilityPath", "model.path", "probability paths"),
    "time_samplers": Kind("objectives", "TimeSampler", "model.time_sampler", "where training draws t"),
    "couplings": Kind("objectives", "Coupling", "model.coupling", "which draw of the source goes with which data"),
    "weights": Kind("objectives", "Weight", "model.weight", "how much the error counts at each time"),
    "losses": Kind("objectives", "Loss", "model.loss", "what is made of an error"),
    "distributions": Kind("distributions", "Distribution Shape2D", "model.source", "laws with known samples"),
    "lr_schedulers": Kind("training", "LRScheduler", "model.lr_scheduler", "learning-rate schedules", supplied=1),
    "data": Kind("data", "DataModule ImageData", "data", "data sets"),
    "solvers": Kind("solvers", "Solver", "samples.solver", "ODE and SDE solvers"),
    "grids": Kind("solvers", "Grid", "samples.grid", "time grids of a solve"),
    "diffusions": Kind("solvers", "DiffusionCoefficient", "samples.solver.diffusion", "noise of an SDE solve"),
    "processes": Kind("figures", "Process", "process", "SDEs and ODEs of known law, for fmlab draw process"),
}


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
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def kind(self) -> Kind | None:
        """The list it stands in."""
        return next((kind for kind in KINDS.values() if self.is_a(kind)), None)

    def is_a(self, kind: Kind) -> bool:
        names = {base.name if isinstance(base, Entry) else base for base in self._bases()}
        bases = set(kind.bases.split())
        return self.room == kind.room and self.name not in bases and bool(bases & names)

    def ancestors(self) -> list[Entry]:
        """The bases within the package, transitively, nearest first."""
        return [base for base in self._bases() if isinstance(base, Entry)]

    def arguments(self) -> dict[str, Argument] | None:
        """What its constructor takes, inherited arguments included; None where a base of another package decides."""
        function = self.node if isinstance(self.node, ast.FunctionDef) else _constructor(self.node)
        if function is None and isinstance(self.node, ast.ClassDef) and _is_dataclass(self.node):
            fields = [item for item in self.node.body if isinstance(item, ast.AnnAssign)]
            return {ast.unparse(item.target): Argument(item.annotation, item.value, self.module) for item in fields}
        arguments = {} if function is None else _arguments_of(function, self.module)
        base = next(self._bases(), None)
        if base is None or (function is not None and function.args.kwarg is None):
            return arguments
        if isinstance(base, Entry):
            inherited = base.arguments()
        else:
            inherited = {} if base in ("ABC", "Protocol", "Callback", "Module") else None
        if inherited is None:
            return None
        return arguments | {name: inherited[name] for name in inherited if name not in arguments}

    def _bases(self) -> Iterator[Entry | str]:
        """The bases, transitively; those of other packages by their names alone."""
        for node in self.node.bases if isinstance(self.node, ast.ClassDef) else ():
            name = _name(node)
            base = find_in_module(self.module, name) or name
            yield base
            if isinstance(base, Entry):
                yield from base._bases()


def of_kind(kind: str) -> list[Entry]:
    """The entries of a kind, by name."""
    room = KINDS[kind].room
    entries = [find_entry(f"fmlab.{room}.{name}") for name in public_names(f"fmlab.{room}")]
    return sorted((entry for entry in entries if entry and entry.is_a(KINDS[kind])), key=lambda one: one.name.lower())


@cache
def find_entry(word: str) -> Entry | None:
    """What the package defines or exports under an import path or a short name, which no two rooms share."""
    module, _, name = word.rpartition(".")
    if not module:
        module = next((f"fmlab.{room}" for room in rooms() if word in public_names(f"fmlab.{room}")), "")
    return find_in_module(module, name, module.partition(".")[2].partition(".")[0])


def exported_names() -> list[str]:
    """Every name that a room of the package exports."""
    return [name for room in rooms() for name in public_names(f"fmlab.{room}")]


def rooms() -> list[str]:
    """The folders of the package that are packages themselves."""
    return sorted(init.parent.name for init in PACKAGE.glob("*/__init__.py"))


@cache
def public_names(module: str) -> frozenset[str]:
    """What a module's `__all__` lists, its source read wherever it is installed; nothing is imported."""
    for node in _parsed(_source(module)).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return frozenset(str(part.value) for part in ast.walk(node.value) if isinstance(part, ast.Constant))
    return frozenset()


def find_in_module(module: str, name: str, room: str = "") -> Entry | None:
    """The entry that a name means in a module of the package, its imports within the package followed."""
    if not module.startswith("fmlab."):
        return None
    definitions, imports = _contents(module)
    if name in definitions:
        return Entry(name, room or module.split(".")[1], module, definitions[name])
    if name in imports and imports[name] != (module, name):
        return find_in_module(*imports[name], room)
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


def _name(node: ast.expr) -> str:
    """The last word of a base: `Metric` of `torchmetrics.Metric`, `Generic` of `Generic[T]`."""
    return ast.unparse(node).partition("[")[0].rpartition(".")[2]
