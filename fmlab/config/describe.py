"""What a class says of itself, for `fmlab help` and `fmlab list`: read from its source, nothing is imported."""

from __future__ import annotations

import ast
import re

from fmlab.config.catalog import Entry
from fmlab.config.option_help import documented_arguments


def describe_entry(entry: Entry) -> str:
    """Docstring and arguments of a class; the text of its `Args:` stands beside each argument."""
    docstring = ast.get_docstring(entry.node) or ""
    texts: dict[str, str] = {}
    for documented in reversed([entry, *entry.ancestors()]):
        texts |= dict(documented_arguments(ast.get_docstring(documented.node) or ""))
    summary = re.split(r"\n\s*(?:Args|Attributes|Raises):\n", docstring, maxsplit=1)[0].strip()
    lines = []
    for name, argument in list((entry.arguments() or {}).items())[entry.kind.supplied if entry.kind else 0 :]:
        hint = ast.unparse(argument.hint) if argument.hint else "anything"
        lines.append(
            f"  {name}: {hint}" + (f" = {ast.unparse(argument.default)}" if argument.default else "  (needed)")
        )
        lines += [f"      {texts[name]}"] if name in texts else []
    return summary + ("\n\narguments:\n" + "\n".join(lines) if lines else "\n\nno arguments") + "\n"
