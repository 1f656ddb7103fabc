"""The verbs of `fmlab`, one file each: a frozen dataclass of options, and `run(options)`, which imports what is heavy.

A verb is a file here and a line in `VERBS`. The dataclass is that of `run`'s annotation, and its docstring is the help.
A verb with sub-verbs, such as `fmlab draw path`, has `SUB_VERBS`, a function for each, in the place of `run`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

VERBS: Mapping[str, tuple[str, str]] = {
    "fit": ("fit", "train what a configuration describes, or continue a run"),
    "validate": ("validate", "measure a finished run again, as its training did"),
    "sample": ("sample", "draw images from a finished run"),
    "evaluate": ("evaluate", "measure a finished run: metrics, over a grid of settings"),
    "diagnose": ("diagnose", "where the error of a run comes from: network, solver, guidance, data"),
    "sweep": ("sweep", "many runs from one file: here, on SLURM, through W&B; continues where it stopped"),
    "compare": ("compare", "runs side by side: a table, and a page that says which is better"),
    "export": ("export", "a finished run as one file, with a model card"),
    "import": ("import_weights", "published DiT or SiT weights as such a file"),
    "submit": ("submit", "hand a run to SLURM, checked before it waits in the queue"),
    "runs": ("runs", "a table of runs: state, step, speed, best score, job"),
    "draw": ("draw", "pictures of the theory: paths, fields, flows, trajectories, solvers"),
    "list": ("list", "what there is: networks, paths, solvers, data, experiments, ..."),
    "help": ("help", "explain a verb, a section or a class"),
}
"""For each word after `fmlab`, the module in this folder, imported when the verb is used, and one line of help."""


@dataclass(frozen=True)
class Command:
    """A verb, or one of its sub-verbs, ready to be run.

    Args:
        name: As the user types it: `sample`, `draw path`.
        run: Takes the options and returns the exit code.
    """

    name: str
    run: Callable[[Any], int]

    @property
    def options(self) -> type:
        """The dataclass of its options."""
        options: type = get_type_hints(self.run, include_extras=True)["options"]
        return options


def commands_of(verb: str) -> dict[str, Command]:
    """The sub-verbs of a verb, by name; under the empty name the verb itself where it has none."""
    module = importlib.import_module(f"fmlab.commands.{VERBS[verb][0]}")
    functions: Mapping[str, Callable[[Any], int]] = getattr(module, "SUB_VERBS", None) or {"": module.run}
    return {name: Command(f"{verb} {name}".strip(), function) for name, function in functions.items()}
