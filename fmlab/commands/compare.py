"""`fmlab compare`: runs side by side, by their records alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fmlab.config.options import Positional
from fmlab.errors import UserError
from fmlab.records.atomic import free_name, refuse_existing


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Compares runs: prints a table, and writes a page for a browser.

      fmlab compare 'runs/paths/*' --out paths.html

    RUN is a run's folder or its id; a folder of runs or an experiment's name, which here means all its runs; or a
    pattern in quotes. Runs that differ in nothing but their seed are one group; groups are compared in pairs of the
    same seed.

    Args:
        runs: Such as runs/paths/*, digits, or an id.
        metric: The metric to begin with; the one that chose the best checkpoint if left out.
        out: The page, one .html file; comparison.html if left out, or comparison-2.html and so on where that is taken.
        overwrite: Replace the page if it is there already.
    """

    runs: Annotated[tuple[str, ...], Positional("RUN")] = ()
    metric: str | None = None
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.out is None:
            return
        if self.out.suffix not in (".html", ".htm"):
            raise UserError(f"{str(self.out)!r} is no HTML file's name", key="out", hint="write --out page.html")
        if not self.out.parent.is_dir():
            raise UserError(f"there is no folder {self.out.parent}", key="out", hint=f"you are in {Path.cwd()}")
        refuse_existing(self.out, "out", self.overwrite)

    @property
    def page(self) -> Path:
        """The file to write."""
        default = Path("comparison.html")
        return self.out or (default if self.overwrite else free_name(default))


def run(options: CompareOptions) -> int:
    """Prints the table and writes the page."""
    from fmlab.comparison.groups import compare
    from fmlab.comparison.page import write_page
    from fmlab.comparison.sentences import report

    comparison = compare(list(options.runs), options.metric)
    for problem in comparison.problems:
        print(f"note: {problem}")
    print(report(comparison))
    experiments = dict.fromkeys(member.run.layout.experiment for member in comparison.members)
    file = options.page
    write_page(comparison, file, f"{', '.join(list(experiments)[:4])}: runs compared")
    size = file.stat().st_size / 2**20
    print(f"page       {file} ({size:.1f} MiB), for a browser; it needs nothing else")
    return 0
