"""`fmlab list`: what there is to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fmlab.commands.help import explain
from fmlab.config import catalog, schema
from fmlab.config.option_help import table
from fmlab.config.options import Positional
from fmlab.errors import UserError, nearest
from fmlab.metrics import registry

EXPERIMENTS, METRICS, PREDICTIONS = "experiments", "metrics", "predictions"


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
    kinds = [(kind.name, kind.about) for kind in catalog.KINDS.values()]
    kinds += [(PREDICTIONS, "what a network outputs"), (EXPERIMENTS, "experiment files")]
    kinds += [(METRICS, "what an evaluation measures")]
    if options.kind is None:
        print("fmlab list KIND [NAME], where KIND is one of\n")
        print(table(kinds))
        return 0
    kind = options.kind
    if kind not in dict(kinds):
        raise UserError("there is no such list", key=kind, hint=nearest(kind, dict(kinds)))
    if kind == EXPERIMENTS:
        return _list_experiments()
    if kind == PREDICTIONS:
        print("what a network outputs, named in a configuration at model.prediction\n")
        print(table(catalog.predictions()))
        return 0
    if kind == METRICS and not options.names:
        print("what an evaluation measures, named by --metrics\n")
        print(table([(name, registry.facts(name).about) for name in registry.METRICS]))
        return 0
    if options.names:
        for name in options.names:
            print(explain(name, kind))
        return 0
    print(f"{catalog.KINDS[kind].about}, named {_where(catalog.KINDS[kind].key)}\n")
    print(table([(entry.name, entry.about) for entry in catalog.of_kind(kind)]))
    print(f"\nfmlab list {kind} NAME shows the arguments of one.")
    return 0


def _where(key: str) -> str:
    return f"in a configuration at {key}" if key.partition(".")[0] in schema.BY_NAME else f"by --{key}"


def _list_experiments() -> int:
    experiments = catalog.experiments()
    if not experiments:
        raise UserError("there is no folder experiments here", key=EXPERIMENTS, hint="it lies beside fmlab's README")
    print("experiment files, for fmlab fit --config FILE\n")
    print(table([(str(experiment.path), experiment.about) for experiment in experiments]))
    return 0
