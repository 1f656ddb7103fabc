"""The `fmlab` command: finds the verb, and says what went wrong in at most three lines."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fmlab._version import __version__
from fmlab.errors import RunFailure, UserError


@dataclass(frozen=True)
class Verb:
    """A word after `fmlab`.

    Attributes:
        target: `module:function`, imported when the verb is used; the function takes the words after the verb and
            returns the exit code.
        about: One line of help.
    """

    target: str
    about: str


VERBS: dict[str, Verb] = {
    "fit": Verb("fmlab.commands.fit:main", "train what a configuration describes, or go on with a run"),
    "validate": Verb("fmlab.commands.fit:validate", "measure a finished run again"),
    "sample": Verb("fmlab.commands.sample_options:main", "draw images from a finished run"),
    "evaluate": Verb(
        "fmlab.commands.evaluate_options:main", "measure a finished run: metrics, over a grid of settings"
    ),
    "diagnose": Verb(
        "fmlab.commands.diagnose_options:main", "where the error of a run comes from: network, solver, guidance, data"
    ),
    "sweep": Verb(
        "fmlab.commands.sweep:main",
        "many runs from one file: here, on SLURM, through W&B; goes on where it stopped",
    ),
    "compare": Verb("fmlab.commands.compare:main", "runs side by side: a table, and a page that says which is better"),
    "export": Verb("fmlab.commands.export:main", "a finished run as one file, with a model card"),
    "import": Verb("fmlab.commands.import_weights:main", "published DiT or SiT weights as such a file"),
    "submit": Verb("fmlab.commands.submit:main", "hand a run to SLURM, checked before it waits in the queue"),
    "runs": Verb("fmlab.commands.runs:main", "a table of runs: state, step, speed, best score, job"),
    "draw": Verb(
        "fmlab.commands.draw_options:main", "pictures of the theory: paths, fields, flows, trajectories, solvers"
    ),
    "list": Verb("fmlab.commands.listing:main", "what there is: networks, paths, solvers, data, experiments, ..."),
    "help": Verb("fmlab.commands.help:main", "explain a verb, a section or a class"),
}

TRACEBACK = "--traceback"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 for a failure, 2 for a mistake in what was asked."""
    words = list(sys.argv[1:] if argv is None else argv)
    full = TRACEBACK in words
    try:
        return _run([word for word in words if word != TRACEBACK])
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        if words[:1] not in (["list"], ["help"], ["runs"]):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        return 0
    except Exception as error:
        mistake = _mistake_in(error)
        if full or mistake is None:
            raise
        print(message(mistake), file=sys.stderr)
        return 1 if isinstance(mistake, RunFailure) else 2


def message(error: UserError) -> str:
    """The error in at most three lines: key and cause, then the hint."""
    head = f"error: {error.key}: {error.message}" if error.key else f"error: {error.message}"
    lines = [head, *([f"  {error.hint}"] if error.hint else [])]
    return "\n".join("  " * line.startswith(" ") + " ".join(line.split()) for line in lines)


def verb_first(words: list[str]) -> list[str]:
    """The words with the verb at the front: `--config x fit` is `fit --config x`."""
    place = 0
    while place < len(words) and words[place].startswith("-"):
        has_value = "=" not in words[place] and words[place] not in ("-h", "--help", "--version", "--print_config")
        place += 2 if has_value else 1
    if place < len(words) and words[place] in VERBS:
        return [words[place], *words[:place], *words[place + 1 :]]
    return words


def _run(words: list[str]) -> int:
    words = verb_first(words)
    if not words or words[0] in ("-h", "--help"):
        return _call("fmlab.commands.help:main", [])
    if words[0] in ("-V", "--version"):
        print(f"fmlab {__version__}")
        return 0
    name, *rest = words
    if name not in VERBS:
        raise UserError("is no verb", key=name, hint=_nearest_verb(name))
    if name in ("fit", "validate") and any(word in ("-h", "--help") for word in rest):
        return _call("fmlab.commands.help:main", [name])
    return _call(VERBS[name].target, rest)


def _call(target: str, words: list[str]) -> int:
    module, _, function = target.partition(":")
    return int(getattr(importlib.import_module(module), function)(words))


def _nearest_verb(name: str) -> str:
    if name.startswith("-"):
        return "the verb comes first: fmlab fit --config experiments/digits.yaml"
    aliases = {"train": "fit", "test": "validate", "generate": "sample"}
    close = [aliases[name]] if name in aliases else difflib.get_close_matches(name, VERBS, n=1, cutoff=0.5)
    return f"did you mean fmlab {close[0]}?" if close else f"verbs: {', '.join(VERBS)}"


def _mistake_in(error: BaseException | None) -> UserError | None:
    """The UserError that an error is or was caused by; libraries wrap what constructors raise."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


if __name__ == "__main__":
    sys.exit(main())
