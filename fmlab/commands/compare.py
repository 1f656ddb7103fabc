"""`fmlab compare`: runs side by side, by their records alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from fmlab.config.parts import Parser
from fmlab.errors import UserError

USAGE = "fmlab compare RUN [RUN ...] [--metric val/fid_domain] [--out page.html]"

EPILOG = """
RUN is a run's folder or its id; a folder of runs or an experiment's name, which here means all its runs; or a pattern
in quotes. Runs that differ in nothing but their seed are one group; groups are compared in pairs of the same seed.
"""


def parser() -> argparse.ArgumentParser:
    """The options of `fmlab compare`."""
    command = Parser(prog="fmlab compare", usage=USAGE, epilog=EPILOG, allow_abbrev=False)
    command.add_argument("runs", nargs="*", metavar="RUN", help="runs/paths/*, digits, or an id")
    command.add_argument("--metric", help="the metric to begin with (what the best checkpoint was kept by)")
    command.add_argument("--out", default="comparison.html", help="the page, one file (comparison.html)")
    return command


def main(argv: list[str]) -> int:
    """Prints a table and writes the page."""
    options = parser().parse_args(argv)
    file = Path(options.out)
    if file.suffix not in (".html", ".htm"):
        raise UserError(f"{options.out!r} is no HTML file's name", key="out", hint="write --out page.html")
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent}", key="out", hint=f"you are in {Path.cwd()}")
    from fmlab.comparison.groups import compare
    from fmlab.comparison.page import write_page
    from fmlab.comparison.terminal import report

    comparison = compare(options.runs, options.metric)
    print(report(comparison))
    experiments = dict.fromkeys(member.run.layout.experiment for member in comparison.members)
    write_page(comparison, file, f"{', '.join(list(experiments)[:4])}: runs compared")
    print(f"page       {file} ({file.stat().st_size / 2**20:.1f} MiB), for a browser; it needs nothing else")
    return 0
