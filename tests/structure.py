"""Measures the structure of the package; `python tests/structure.py --write` puts it into ARCHITECTURE.md.

Rooms are the folders and single files of `fmlab/`. An arrow stands for an import, also for one inside a function. The
picture leaves out an arrow where a longer way leads to the same room.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fmlab"
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- structure: begin -->", "<!-- structure: end -->"

Graph = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a folder's `__init__` has the folder's name."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        files[name.removesuffix(".__init__")] = path
    return files


def import_graph() -> dict[str, set[str]]:
    """The modules of the package that each module imports."""
    files = modules()
    return {name: set(_imports(path, files)) - {name} for name, path in files.items()}


def _imports(path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module in files:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(files)
            yield from submodules
            if len(submodules) < len(node.names):
                yield node.module


def room_of(module: str) -> str:
    """The room of a module: `fmlab.paths.base` is in `paths`."""
    return module.split(".")[1] if "." in module else "fmlab"


def room_graph() -> dict[str, set[str]]:
    """The rooms that each room imports."""
    rooms: dict[str, set[str]] = {}
    for module, imported in import_graph().items():
        rooms.setdefault(room_of(module), set()).update(room_of(name) for name in imported)
    return {room: others - {room, "_version"} for room, others in rooms.items() if room not in ("fmlab", "_version")}


def circles(graph: Graph) -> list[list[str]]:
    """The sets of nodes that reach one another, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                components.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return components


def reachable(graph: Graph, start: str) -> set[str]:
    """All nodes that can be reached from one."""
    seen: set[str] = set()
    pending = [start]
    while pending:
        new = graph.get(pending.pop(), set()) - seen
        seen |= new
        pending += new
    return seen


def picture(graph: Graph) -> str:
    """The rooms and their arrows as a Mermaid diagram, without arrows that a longer way implies."""
    lines = ["```mermaid", "graph TD"]
    for room in sorted(graph):
        direct = graph[room]
        implied = set().union(*(reachable(graph, other) for other in direct)) if direct else set()
        lines += [f"    {room} --> {other}" for other in sorted(direct - implied)]
    return "\n".join([*lines, "```"])


def line_count(path: Path) -> int:
    """The lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def sizes() -> dict[str, tuple[int, int]]:
    """Files and lines of each room."""
    table: dict[str, tuple[int, int]] = {}
    rooms = room_graph()
    for module, path in modules().items():
        room = room_of(module) if room_of(module) in rooms else "(top)"
        files, lines = table.get(room, (0, 0))
        table[room] = (files + 1, lines + line_count(path))
    return table


def summary() -> str:
    """The picture, and the table of rooms and limits, as Markdown."""
    table = sizes()
    longest = max(modules().values(), key=line_count)
    rows = [f"| `{room}` | {count} | {length:,} |" for room, (count, length) in sorted(table.items())]
    total = (
        f"| together | {sum(files for files, _ in table.values())} | {sum(lines for _, lines in table.values()):,} |"
    )
    facts = [
        f"Import circles between modules: {len(circles(import_graph()))}.",
        f"Longest file: `{longest.relative_to(ROOT)}`, {line_count(longest)} lines.",
    ]
    table_lines = ["| room | files | lines |", "| --- | ---: | ---: |", *rows, total]
    return "\n\n".join([picture(room_graph()), "\n".join(table_lines), " ".join(facts)])


def write_page(content: str, begin: str = BEGIN, end: str = END) -> None:
    """Replaces what stands between two marks of ARCHITECTURE.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n\n{content}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write_page(summary())
    else:
        print(summary())
