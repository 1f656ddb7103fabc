"""What the package offers, read from its own source files by `ast`: nothing is imported, so it answers at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
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
        room: The folder it lives in.
        path: The import path users may write, through the room.
        about: The first line of its docstring.
        bases: Names of its bases within the sources read, nearest first, and of the foreign ones it names.
        node: Its syntax tree.
    """

    name: str
    room: str
    path: str
    about: str
    bases: tuple[str, ...]
    node: ast.ClassDef | ast.FunctionDef

    def is_a(self, kind: Kind) -> bool:
        is_class = isinstance(self.node, ast.ClassDef) and self.room == kind.room
        return is_class and self.name not in kind.bases and bool(kind.bases & set(self.bases))

    @property
    def kind(self) -> Kind | None:
        """The list it stands in."""
        return next((kind for kind in KINDS.values() if self.is_a(kind)), None)


def predictions() -> list[tuple[str, str]]:
    """What a network may output, each with a line on it."""
    about = {
        "velocity": "the path's velocity, dx/dt",
        "score": "the gradient of the log-density",
        "noise": "the noise in x_t",
        "data": "the data in x_t",
        "velocity_and_score": "both, from a network with outputs: 2; for paths on which neither gives the other",
    }
    words: list[str] = []
    for file in sorted((PACKAGE / "paths").glob("*.py")):
        for node in _parsed(file).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Output":
                words = [str(word) for word in ast.literal_eval(ast.unparse(node.value).removeprefix("Literal"))]
    return [(word, about.get(word, "")) for word in words]


def rooms() -> list[str]:
    """The folders of the package that are packages themselves."""
    return sorted(found.parent.name for found in PACKAGE.glob("*/__init__.py"))


@cache
def room_entries(room: str) -> Mapping[str, Entry]:
    """The exported classes and functions of one room, by name."""
    nodes, init = _nodes(room), PACKAGE / room / "__init__.py"
    exported = _exported(init) if init.is_file() else set()
    return {
        name: Entry(name, room, f"fmlab.{room}.{name}", _about(node), tuple(_bases(node, nodes)), node)
        for name, node in nodes.items()
        if name in exported
    }


def of_kind(kind: str) -> list[Entry]:
    """The entries of a kind, by name."""
    wanted = KINDS[kind]
    found = [entry for entry in room_entries(wanted.room).values() if entry.is_a(wanted)]
    return sorted(found, key=lambda entry: entry.name.lower())


def named(name: str) -> list[Entry]:
    """Every exported entry with that short name, whatever the room."""
    # Rooms that do not even mention the name need no parsing, which is what takes time.
    mentioning = [room for room in rooms() if name in (PACKAGE / room / "__init__.py").read_text(encoding="utf-8")]
    return [entries[name] for room in mentioning if name in (entries := room_entries(room))]


def exported_names() -> list[str]:
    """Every name that a room of the package exports."""
    return [name for room in rooms() for name in _exported(PACKAGE / room / "__init__.py")]


def find_node(room: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The syntax tree of a class in a room, exported or not."""
    return _nodes(room).get(name)


def bases_in(node: ast.AST, room: str) -> list[ast.ClassDef]:
    """The syntax trees of a class's bases, transitively, as far as they live in the room."""
    nodes = _nodes(room)
    found = [nodes.get(name) for name in _bases(node, nodes)]
    return [base for base in found if isinstance(base, ast.ClassDef)]


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


@cache
def _nodes(room: str) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    """Every class and function at the top of a room's files, by name."""
    nodes: dict[str, ast.ClassDef | ast.FunctionDef] = {}
    for file in sorted((PACKAGE / room).glob("*.py")):
        for node in _parsed(file).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                nodes.setdefault(node.name, node)
    return nodes


@cache
def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"), str(file))
    except SyntaxError:  # told properly when the room is imported
        return ast.Module(body=[], type_ignores=[])


def _exported(init: Path) -> set[str]:
    for node in _parsed(init).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


def _about(node: ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").split("\n", 1)[0]


def _bases(node: ast.AST, nodes: Mapping[str, ast.ClassDef | ast.FunctionDef]) -> Iterator[str]:
    """Names of all bases of a class, transitively; for a function, the name of what it returns."""
    if isinstance(node, ast.FunctionDef):
        named_bases = [_name(node.returns)] if node.returns else []
    elif isinstance(node, ast.ClassDef):
        named_bases = [_name(base) for base in node.bases]
    else:
        return
    for base in named_bases:
        if base:
            yield base
            yield from _bases(nodes.get(base, ast.Pass()), nodes)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
