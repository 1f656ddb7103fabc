"""`fmlab help`: the first page, and what verbs, sections and classes say of themselves, read from their docstrings."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Annotated

from fmlab._version import __version__
from fmlab.commands import VERBS, commands_of
from fmlab.config import catalog, schema
from fmlab.config.option_help import describe_options, documented_arguments, summary, table
from fmlab.config.options import Positional
from fmlab.errors import UserError, nearest
from fmlab.metrics.registry import METRICS


@dataclass(frozen=True)
class HelpOptions:
    """Explains a verb, a section of a configuration, or a class with its arguments.

      fmlab help fit
      fmlab help draw path
      fmlab help trainer
      fmlab help DiT

    Args:
        names: Verbs, sections or classes.
    """

    names: Annotated[tuple[str, ...], Positional("WORD")] = ()


def run(options: HelpOptions) -> int:
    """Prints the first page, or an explanation of each word."""
    names, pages = list(options.names), []
    while names:
        name = names.pop(0)
        has_sub_verb = name in VERBS and names and names[0] in commands_of(name)
        pages.append(explain_verb(name, names.pop(0)) if has_sub_verb else explain_word(name))
    print("\n".join(pages) if pages else first_page())
    return 0


def first_page() -> str:
    """What `fmlab` alone prints."""
    verbs = table([(name, about) for name, (_, about) in VERBS.items()])
    return (
        f"fmlab {__version__}: flow matching and diffusion, every part of it to be swapped from one YAML file\n\n"
        f"usage: fmlab VERB ...\n\n{verbs}\n\n"
        "  fmlab fit --config experiments/digits.yaml      train on the digits that ship with scikit-learn\n"
        "  fmlab fit --help                                the configuration and its overrides\n"
        "  fmlab list networks                             what there is to choose from\n"
        "  fmlab help DiT                                  the arguments of a part\n\n"
        "Every verb takes --help, and --traceback to show a mistake with its full traceback."
    )


def explain_verb(verb: str, sub_verb: str = "") -> str:
    """The help of a verb, or the list of its sub-verbs."""
    commands = commands_of(verb)
    if sub_verb not in commands:
        rows = [(name, summary(command.options.__doc__).splitlines()[0]) for name, command in commands.items()]
        return f"usage: fmlab {verb} WORD [--help], where WORD is one of\n\n{table(rows)}"
    text = describe_options(commands[sub_verb].options, commands[sub_verb].name)
    if verb != "fit":
        return text
    sections = [(schema.SEED, f"the seed of everything random, {schema.DEFAULT_SEED} if left out")]
    sections += [(section.name, section.about) for section in schema.SECTIONS]
    return (
        f"{text}\n\nsections of a configuration:\n{table(sections)}\n\n"
        f"fmlab list KIND shows the classes there are, by kind: {', '.join(catalog.KINDS)}.\n"
        "fmlab help WORD explains a section (fmlab help fid) or a class with its arguments (fmlab help DiT)."
    )


def explain_word(word: str) -> str:
    """Help for a verb, a section of the configuration, or a class of the package.

    Raises:
        UserError: If the word is none of these.
    """
    if word in VERBS:
        return explain_verb(word)
    section = schema.BY_NAME.get(word)
    if section is None:
        return explain(word)
    if section.component:
        return f"{word}: {section.about}; fmlab list {'models' if word == 'model' else word} shows the choices"
    entry = catalog.find_entry(section.target)
    if entry is None:
        return f"{word}: {section.about}; the arguments of {section.target}"
    return f"{word}: {section.about}\n\n{_describe_entry(entry)}"


def explain(name: str, kind: str | None = None) -> str:
    """A class's docstring, and its constructor's arguments with types and defaults.

    Raises:
        UserError: If the package has no such class, or not of that kind.
    """
    if kind in (None, "metrics"):
        path = next((path for word, path in METRICS.items() if name in (word, path.rpartition(".")[2])), None)
        if path is not None and (entry := catalog.find_entry(path)):
            return f"{path}\n\n{_describe_entry(entry)}"
        if kind is not None:
            raise UserError("is no metric", key=name, hint=nearest(name, METRICS))
    entries = catalog.of_kind(kind) if kind else [entry for entry in [catalog.find_entry(name)] if entry]
    matches = [entry for entry in entries if entry.name == name]
    if not matches:
        hint = nearest(name, [entry.name for entry in entries] if kind else [*VERBS, *schema.BY_NAME], cutoff=0.7)
        hint = hint if kind or hint.startswith("did") else nearest(name, catalog.exported_names(), cutoff=0.75)
        hint = hint if kind or hint.startswith("did") else "fmlab help lists the verbs, fmlab list the classes"
        raise UserError("is not known", key=name, hint=hint)
    return "\n\n".join(f"{entry.path}\n\n{_describe_entry(entry)}" for entry in matches)


def _describe_entry(entry: catalog.Entry) -> str:
    """Docstring and arguments of a class; the text of its `Args:` stands beside each argument."""
    texts: dict[str, str] = {}
    for documented in reversed([entry, *entry.ancestors()]):
        texts |= dict(documented_arguments(documented.docstring))
    lines = []
    for name, argument in list((entry.arguments() or {}).items())[entry.kind.supplied if entry.kind else 0 :]:
        hint = ast.unparse(argument.hint) if argument.hint else "anything"
        default = f" = {ast.unparse(argument.default)}" if argument.default else "  (needed)"
        lines.append(f"  {name}: {hint}{default}")
        lines += [f"      {texts[name]}"] if name in texts else []
    arguments = "\n\narguments:\n" + "\n".join(lines) if lines else "\n\nno arguments"
    return summary(entry.docstring) + arguments + "\n"
