"""A page of results that several benchmarks write, each between its own markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_section(page: Path, name: str, text: str) -> None:
    """Puts `text` between the markers of that name; a section that is not there yet goes to the end of the page."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = f"{first}\n{text.strip()}\n{last}\n"
    old = page.read_text(encoding="utf-8") if page.exists() else "# Results\n"
    before, found, rest = old.partition(first)
    after = rest.partition(last)[2].lstrip("\n") if found else ""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(before.rstrip("\n") + "\n\n" + section + ("\n" + after if after else ""), encoding="utf-8")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers stand on the right, the first column on the left."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
