"""The `fmlab` command: finds the verb and its options, and answers a mistake in at most three lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from fmlab._version import __version__
from fmlab.commands import VERBS, commands_of
from fmlab.config.options import parse_options
from fmlab.errors import RunFailure, UserError, nearest, user_error_in

# What other programs call the verbs.
_SYNONYMS = {"train": "fit", "test": "validate", "generate": "sample"}

TRACEBACK = "--traceback"
HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 for a failure, 2 for a mistake in what was asked."""
    argv = list(sys.argv[1:] if argv is None else argv)
    show_traceback = TRACEBACK in argv
    try:
        return run(verb_first([word for word in argv if word != TRACEBACK]))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        if argv[:1] not in (["list"], ["help"], ["runs"]):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        return 0
    except Exception as error:
        mistake = user_error_in(error)
        if show_traceback or mistake is None:
            raise
        print(mistake.report(), file=sys.stderr)
        return 1 if isinstance(mistake, RunFailure) else 2


def verb_first(argv: list[str]) -> list[str]:
    """The words with the verb at the front: `--config x fit` is `fit --config x`."""
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        has_value = "=" not in argv[index] and argv[index] not in (*HELP, "-V", "--version", "--print_config")
        index += 2 if has_value else 1
    if index < len(argv) and argv[index] in VERBS:
        return [argv[index], *argv[:index], *argv[index + 1 :]]
    return argv


def run(argv: list[str]) -> int:
    """Runs what the words say; the first is the verb."""
    if argv[:1] in (["-V"], ["--version"]):
        print(f"fmlab {__version__}")
        return 0
    verb, *rest = argv if argv and argv[0] not in HELP else ["help"]
    if verb not in VERBS:
        raise UserError("is not a verb", key=verb, hint=_nearest_verb(verb))
    commands = commands_of(verb)
    sub_verb = "" if "" in commands or not rest or rest[0] in HELP else rest.pop(0)
    if sub_verb not in commands and sub_verb:
        raise UserError(f"fmlab {verb} has no such word", key=f"{verb} {sub_verb}", hint=nearest(sub_verb, commands))
    if sub_verb not in commands or any(word in HELP for word in rest):
        from fmlab.commands.help import explain_verb

        print(explain_verb(verb, sub_verb))
        return 0
    command = commands[sub_verb]
    return command.run(parse_options(command.options, rest, command.name))


def _nearest_verb(name: str) -> str:
    if name.startswith("-"):
        return "the verb comes first: fmlab fit --config experiments/digits.yaml"
    hint = f"did you mean {name}?" if name in _SYNONYMS else nearest(name, [*VERBS, *_SYNONYMS], cutoff=0.5)
    if not hint.startswith("did"):
        return f"verbs: {', '.join(VERBS)}"
    matches = hint.removeprefix("did you mean ").removesuffix("?").split(" or ")
    return f"did you mean fmlab {' or '.join(dict.fromkeys(_SYNONYMS.get(match, match) for match in matches))}?"


if __name__ == "__main__":
    sys.exit(main())
