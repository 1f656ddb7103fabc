"""`fmlab list`: what there is to choose from."""

from __future__ import annotations

import shutil
import textwrap

from fmlab.commands.help import explain
from fmlab.config import catalog, schema
from fmlab.errors import UserError, nearest

EXPERIMENTS, PREDICTIONS = "experiments", "predictions"


def main(argv: list[str]) -> int:
    """`fmlab list`, `fmlab list KIND`, `fmlab list KIND NAME`."""
    kinds = [(kind.name, kind.about) for kind in catalog.KINDS.values()]
    kinds += [(PREDICTIONS, "what a network outputs"), (EXPERIMENTS, "experiment files")]
    words = [word for word in argv if word not in ("-h", "--help")]
    if not words:
        print("fmlab list KIND [NAME], where KIND is one of\n")
        print(table(kinds))
        return 0
    kind, *names = words
    if kind not in dict(kinds):
        raise UserError("there is no such list", key=kind, hint=nearest(kind, dict(kinds)))
    if kind == EXPERIMENTS:
        return _list_experiments()
    if kind == PREDICTIONS:
        print("what a network outputs, named in a configuration at model.prediction\n")
        print(table(catalog.predictions()))
        return 0
    if names:
        for name in names:
            print(explain(name, kind))
        return 0
    print(f"{catalog.KINDS[kind].about}, named {_place(catalog.KINDS[kind].key)}\n")
    print(table([(entry.name, entry.about) for entry in catalog.of_kind(kind)]))
    print(f"\nfmlab list {kind} NAME shows the arguments of one.")
    return 0


def table(rows: list[tuple[str, str]], indent: str = "  ") -> str:
    """Two columns, the second one wrapped to the terminal."""
    if not rows:
        return f"{indent}none"
    width = max(len(name) for name, _ in rows)
    columns = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    lines = []
    for name, about in rows:
        text = textwrap.wrap(about, columns - width - len(indent) - 2) or [""]
        lines.append(f"{indent}{name:{width}}  {text[0]}".rstrip())
        lines += [f"{indent}{'':{width}}  {line}" for line in text[1:]]
    return "\n".join(lines)


def _place(key: str) -> str:
    return f"in a configuration at {key}" if key.partition(".")[0] in schema.BY_NAME else f"by --{key}"


def _list_experiments() -> int:
    found = catalog.experiments()
    if not found:
        raise UserError("there is no folder experiments here", key=EXPERIMENTS, hint="it lies beside fmlab's README")
    print("experiment files, for fmlab fit --config FILE\n")
    print(table([(str(experiment.path), experiment.about) for experiment in found]))
    return 0
