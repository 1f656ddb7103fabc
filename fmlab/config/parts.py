"""What commands without a configuration share: their options, and parts such as `--solver Heun --solver.x=y`."""

from __future__ import annotations

import argparse
from typing import Any

from fmlab.config.merge import ARGS, CLASS, Merger
from fmlab.config.values import read_value
from fmlab.errors import UserError, nearest

Parts = dict[str, dict[str, Any]]
"""Constructor arguments of each part, by their dotted names: `{"solver": {"diffusion": 0.5}}`."""


class Parser(argparse.ArgumentParser):
    """argparse with this command's way of saying what is wrong; `prog` and `usage` are needed."""

    def error(self, message: str) -> Any:
        raise UserError(message, key=self.prog.removeprefix("fmlab "), hint=self.usage)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; of options it does not know the first is answered with the nearest that there is."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = next((word.partition("=")[0] for word in unknown if word.startswith("--")), "")
            hint = nearest(word, [name for name in self._option_string_actions if name.startswith("--")])
            message = f"unrecognized arguments: {' '.join(unknown)}"
            raise UserError(
                message, key=self.prog.removeprefix("fmlab "), hint=hint if hint.startswith("did") else self.usage
            )
        return found


def add_trust(command: argparse.ArgumentParser) -> None:
    """The option of all commands that load a run."""
    command.add_argument("--trust", action="store_true", help="run code of its author's own that the run names")


def split_parts(argv: list[str], names: tuple[str, ...]) -> tuple[list[str], Parts]:
    """Sets `--solver.x=y` apart from the command's own options, for the parts of these names."""
    own: list[str] = []
    parts: Parts = {name: {} for name in names}
    words = iter(argv)
    for word in words:
        name, _, argument = word.removeprefix("--").partition("=")[0].partition(".")
        if not (word.startswith("--") and name in parts and argument):
            own.append(word)
            continue
        text = word.partition("=")[2] if "=" in word else next(words, None)
        if text is None:
            raise UserError("needs a value", key=word)
        parts[name][argument] = read_value(text)
    return own, parts


def part(name: str, word: str, base: type, arguments: Parts) -> Any:
    """A solver, a grid, a process from its class name and arguments, checked as in a configuration."""
    from jsonargparse import ArgumentParser

    from fmlab.config.check import check_component, locate, user_error_in

    merger, node = Merger(lambda new, old: None), {CLASS: word, ARGS: {}}
    for argument in sorted(arguments[name], key=lambda dotted: dotted.count(".")):
        node = merger.assign(node, argument.split("."), arguments[name][argument], name)
    node = check_component(name, [base], node, {})
    command = ArgumentParser(exit_on_error=False)
    command.add_subclass_arguments(base, name, fail_untyped=False)
    try:
        return getattr(command.instantiate_classes(command.parse_object({name: node})), name)
    except Exception as error:
        mistake = user_error_in(error)
        if mistake is None:
            raise
        raise locate(mistake, {name: node}) from error
