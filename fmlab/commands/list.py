"""`fmlab list`: what there is to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fmlab.commands.help import explain
from fmlab.config import catalog, schema
from fmlab.config.option_help import table
from fmlab.config.options import Positional
from fmlab.errors import UserError, nearest
from fmlab.metrics import registry

OTHER_KINDS = {
    "predictions": "what a network outputs, named in a configuration at model.prediction",
    "experiments": "experiment files, for fmlab fit --config FILE",
    "metrics": "what an evaluation measures, named by --metrics",
}


@dataclass(frozen=True)
class ListOptions:
    """Lists what there is to choose from; without a kind, the kinds.

    Args:
        kind: Such as networks, paths, solvers, data or experiments.
        names: Classes of that kind, each explained with its arguments.
    """

    kind: Annotated[str | None, Positional("KIND")] = None
    names: Annotated[tuple[str, ...], Positional("NAME")] = ()


def run(options: ListOptions) -> int:
    """Prints the kinds, the classes of a kind, or what a class says of itself."""
    kinds = {name: kind.about for name, kind in catalog.KINDS.items()} | OTHER_KINDS
    kind = options.kind
    if kind is None:
        print(f"fmlab list KIND [NAME], where KIND is one of\n\n{table(list(kinds.items()))}")
    elif kind not in kinds:
        raise UserError("there is no such list", key=kind, hint=nearest(kind, kinds))
    elif kind in OTHER_KINDS and not (options.names and kind == "metrics"):
        print(f"{kinds[kind]}\n\n{table(_rows(kind))}")
    elif options.names:
        for name in options.names:
            print(explain(name, kind))
    else:
        key = catalog.KINDS[kind].key
        where = f"in a configuration at {key}" if key.partition(".")[0] in schema.BY_NAME else f"by --{key}"
        print(f"{kinds[kind]}, named {where}\n")
        print(table([(entry.name, entry.docstring.split("\n", 1)[0]) for entry in catalog.of_kind(kind)]))
        print(f"\nfmlab list {kind} NAME shows the arguments of one.")
    return 0


def _rows(kind: str) -> list[tuple[str, str]]:
    if kind == "predictions":
        return list(catalog.PREDICTIONS.items())
    if kind == "metrics":
        return [(name, registry.facts(name).about) for name in registry.METRICS]
    files = sorted(Path("experiments").glob("*.yaml"))
    if not files:
        raise UserError("there is no folder experiments here", key=kind, hint="it lies beside fmlab's README")
    return [(str(file), _header(file)) for file in files]


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
