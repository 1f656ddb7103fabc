"""`fmlab help`: the first page, and what verbs, sections and classes say of themselves, read from their docstrings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fmlab._version import __version__
from fmlab.commands import VERBS, commands_of
from fmlab.config import catalog, schema
from fmlab.config.describe import describe_entry
from fmlab.config.option_help import describe_options, summary, table
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
    verbs = table([(name, verb.about) for name, verb in VERBS.items()])
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
        rows = [(name, summary(command.options).splitlines()[0]) for name, command in commands.items()]
        return f"usage: fmlab {verb} WORD [--help], where WORD is one of\n\n{table(rows)}"
    text = describe_options(commands[sub_verb].options, commands[sub_verb].name)
    return f"{text}\n\n{_sections()}" if verb == "fit" else text


def explain_word(word: str) -> str:
    """Help for a verb, a section of the configuration, or a class of the package.

    Raises:
        UserError: If the word is none of these.
    """
    if word in VERBS:
        return explain_verb(word)
    section = schema.BY_NAME.get(word)
    if section and section.component:
        return f"{word}: {section.about}; fmlab list {'models' if word == 'model' else word} shows the choices"
    if section and section.target.startswith("fmlab."):
        entry = catalog.find_entry(*section.target.rsplit(".", 1))
        return f"{word}: {section.about}\n\n{describe_entry(entry) if entry else section.target}"
    if section:
        return f"{word}: {section.about}; the arguments of {section.target}"
    return explain(word)


def _sections() -> str:
    """The sections of a configuration, and where to read on."""
    rows = [(schema.SEED, f"the seed of everything random, {schema.DEFAULT_SEED} if left out")]
    rows += [(section.name, section.about) for section in schema.SECTIONS]
    kinds = ", ".join(catalog.KINDS)
    return (
        f"sections of a configuration:\n{table(rows)}\n\n"
        f"fmlab list KIND shows the classes there are, by kind: {kinds}.\n"
        "fmlab help WORD explains a section (fmlab help fid) or a class with its arguments (fmlab help DiT)."
    )


def explain(name: str, kind: str | None = None) -> str:
    """A class's docstring, and its constructor's arguments with types and defaults.

    Raises:
        UserError: If the package has no such class, or not of that kind.
    """
    if kind in (None, "metrics"):
        path = next((path for word, path in METRICS.items() if name in (word, path.rpartition(".")[2])), None)
        if path is not None and (entry := catalog.find_entry(*path.rsplit(".", 1))):
            return f"{path}\n\n{describe_entry(entry)}"
        if kind is not None:
            raise UserError("is no metric", key=name, hint=nearest(name, METRICS))
    entries = catalog.of_kind(kind) if kind else catalog.named(name)
    matches = [entry for entry in entries if entry.name == name]
    if not matches:
        hint = nearest(name, [entry.name for entry in entries] if kind else [*VERBS, *schema.BY_NAME])
        hint = hint if kind or hint.startswith("did") else nearest(name, catalog.exported_names())
        hint = hint if kind or hint.startswith("did") else "fmlab help lists the verbs, fmlab list the classes"
        raise UserError("is not known", key=name, hint=hint)
    return "\n\n".join(f"{entry.path}\n\n{describe_entry(entry)}" for entry in matches)
