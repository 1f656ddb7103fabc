"""Sections of docs/results.md that commands write, each between its own two markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results.md"


def write_section(name: str, text: str, file: Path = RESULTS) -> None:
    """Replaces the section of that name, or adds it at the end; nothing else in the file changes.

    Args:
        name: What stands in the markers.
        text: The section in Markdown.
        file: The page; made if it is not there.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = file.read_text() if file.is_file() else "# Results\n"
    section = f"{begin}\n{text.strip()}\n{end}"
    before, separator, after = page.partition(begin)
    if separator and end in after:
        page = before + section + after.partition(end)[2]
    else:
        page = f"{page.rstrip()}\n\n{section}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers stand on the right, the first column on the left."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
