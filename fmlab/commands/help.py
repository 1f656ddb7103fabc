"""`fmlab --help`, `fmlab fit --help`, `fmlab help WORD`: text, and what classes say of themselves, read by `ast`."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

from fmlab._version import __version__
from fmlab.config import catalog, schema
from fmlab.errors import UserError, nearest

FIT = """\
usage: fmlab fit --config FILE [--config FILE ...] [--KEY=VALUE ...]
       fmlab fit --resume RUN [--KEY=VALUE ...]

  fmlab fit --config experiments/digits.yaml
  fmlab fit --config experiments/digits.yaml --model.path=VP --model.path.beta_max=12
  fmlab fit --config experiments/digits.yaml --model.network=UNet --model.network.channels=32
  fmlab fit --config experiments/digits.yaml --data.global_batch_size=256 --trainer.max_steps=2000
  fmlab fit --resume digits                       go on with the newest run of that name

--config FILE     a configuration; several merge by key, left to right, and overrides come last
--KEY=VALUE       an override, with a dotted key; it reaches every ${...} in the files
--resume RUN      go on in place with a run: its folder, its id, or its experiment's name
--trust           run code of its author's own that the resumed run names
--print_config    print the complete configuration, which is itself a valid one, and stop
--traceback       show a mistake with its full traceback

A part is named by its class, alone (`path: VP`) or with arguments:

  path:
    class_path: VP
    init_args: {beta_max: 12}

Your own part in my_net.py, beside the file or in this folder, is my_net.MyNet; there is nothing to register.
"""

VALIDATE = """\
usage: fmlab validate RUN [--checkpoint best|last|FILE] [--KEY=VALUE ...]

  fmlab validate digits
  fmlab validate runs/digits/20261123-061203-a1b2 --checkpoint last --fid.num_samples=5000

RUN is a run's folder, its id, or its experiment's name, which means the newest run.
"""


def main(argv: list[str]) -> int:
    """`fmlab help`, `fmlab help fit`, `fmlab help trainer`, `fmlab help DiT`."""
    print("\n".join(about(word) for word in argv) if argv else overview())
    return 0


def overview() -> str:
    """The first page."""
    from fmlab.__main__ import VERBS
    from fmlab.commands.listing import table

    verbs = table([(name, verb.about) for name, verb in VERBS.items()])
    return (
        f"fmlab {__version__}: flow matching and diffusion, every part of it to be swapped from one YAML file\n\n"
        f"usage: fmlab VERB ...\n\n{verbs}\n\n"
        "  fmlab fit --config experiments/digits.yaml      train on the digits that ship with scikit-learn\n"
        "  fmlab fit --help                                the configuration and its overrides\n"
        "  fmlab list networks                             what there is to choose from\n"
        "  fmlab help DiT                                  the arguments of a part"
    )


def about(word: str) -> str:
    """Help for a verb, a section of the configuration, or a class of the package.

    Raises:
        UserError: If the word is none of these.
    """
    if word == "fit":
        return FIT + "\n" + _sections()
    if word == "validate":
        return VALIDATE
    section = schema.BY_NAME.get(word)
    if section and section.component:
        return f"{word}: {section.about}; fmlab list {'models' if word == 'model' else word} shows the choices"
    if section and section.target.startswith("fmlab."):
        return f"{word}: {section.about}\n\n{_describe_path(section.target)}"
    if section:
        return f"{word}: {section.about}; the arguments of {section.target}"
    return explain(word)


def explain(name: str, kind: str | None = None) -> str:
    """A class's docstring, and its constructor's arguments with types and defaults.

    Raises:
        UserError: If the package has no such class, or not of that kind.
    """
    entries = catalog.of_kind(kind) if kind else catalog.named(name)
    found = [entry for entry in entries if entry.name == name]
    if not found:
        names = [entry.name for listed in ([kind] if kind else catalog.KINDS) for entry in catalog.of_kind(listed)]
        choices = names if kind else [*names, *schema.BY_NAME]
        raise UserError("nothing is known of it", key=name, hint=nearest(name, choices))
    return "\n\n".join(f"{entry.path}\n\n{_describe_entry(entry)}" for entry in found)


def _sections() -> str:
    from fmlab.commands.listing import table

    rows = [(schema.SEED, f"the seed of everything random, {schema.DEFAULT_SEED} if left out")]
    rows += [(section.name, section.about) for section in schema.SECTIONS]
    kinds = ", ".join(catalog.KINDS)
    return (
        f"sections of a configuration:\n{table(rows)}\n\n"
        f"fmlab list KIND shows the classes there are, by kind: {kinds}.\n"
        "fmlab help WORD explains a section (fmlab help fid) or a class with its arguments (fmlab help DiT)."
    )


def _describe_path(path: str) -> str:
    """The class at an import path within the package."""
    _, room, *_, name = path.split(".")
    node = catalog.find_node(room, name)
    return _describe(node, room) if node else path


def _describe_entry(entry: catalog.Entry) -> str:
    return _describe(entry.node, entry.room, entry.kind.supplied if entry.kind else 0)


def _describe(node: ast.ClassDef | ast.FunctionDef, room: str, supplied: int = 0) -> str:
    """Docstring and arguments of a class; the text of its `Args:` stands beside each argument."""
    text = ast.get_docstring(node) or ""
    described = dict(_documented(text))
    for base in catalog.bases_in(node, room):
        described = {**dict(_documented(ast.get_docstring(base) or "")), **described}
    summary = re.split(r"\n\s*(?:Args|Attributes|Raises):\n", text, maxsplit=1)[0].strip()
    lines = []
    for name, hint, default in list(_arguments(node, room))[supplied:]:
        lines.append(f"  {name}: {hint}" + (f" = {default}" if default is not None else "  (needed)"))
        lines += [f"      {described[name]}"] if name in described else []
    return summary + ("\n\narguments:\n" + "\n".join(lines) if lines else "\n\nno arguments") + "\n"


def _arguments(node: ast.ClassDef | ast.FunctionDef, room: str) -> Iterator[tuple[str, str, str | None]]:
    """(name, type, default) of a constructor's arguments; of a dataclass's fields; inherited where it has none."""
    function = node if isinstance(node, ast.FunctionDef) else _constructor(node)
    if function is not None:
        taken = function.args
        positional = [*taken.posonlyargs, *taken.args]
        defaults = [None] * (len(positional) - len(taken.defaults)) + list(taken.defaults)
        pairs = [*zip(positional, defaults), *zip(taken.kwonlyargs, taken.kw_defaults)]
        for argument, default in pairs:
            if argument.arg != "self":
                hint = ast.unparse(argument.annotation) if argument.annotation else "anything"
                yield argument.arg, hint, ast.unparse(default) if default is not None else None
        if taken.kwarg is None:
            return
        own = {argument.arg for argument, _ in pairs}
    elif any(ast.unparse(decorator).startswith("dataclass") for decorator in node.decorator_list):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                yield field.target.id, ast.unparse(field.annotation), ast.unparse(field.value) if field.value else None
        return
    else:
        own = set()
    for base in catalog.bases_in(node, room)[:1]:
        yield from (found for found in _arguments(base, room) if found[0] not in own)


def _constructor(node: ast.AST) -> ast.FunctionDef | None:
    body = node.body if isinstance(node, ast.ClassDef) else []
    return next((item for item in body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)


def _documented(docstring: str) -> Iterator[tuple[str, str]]:
    """(name, text) of the entries of a Google-style `Args:` block, each text in one line."""
    block = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)*)", inspect.cleandoc(docstring), re.MULTILINE)
    if block is None:
        return
    for entry in re.split(r"\n(?= {4}\S)", "\n" + block.group(1).rstrip()):
        name, colon, text = entry.strip().partition(":")
        if colon and re.fullmatch(r"\*{0,2}\w+(?: \(.*\))?", name):
            yield name.split(" ")[0].lstrip("*"), " ".join(text.split())
