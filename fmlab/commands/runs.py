"""`fmlab runs`: a table of runs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fmlab.config.parts import Parser
from fmlab.errors import UserError, nearest

USAGE = "fmlab runs [FOLDER ...] [--state running,failed] [--n 20] [--watch]"


def main(argv: list[str]) -> int:
    """Prints the newest runs; `--watch` goes on doing so."""
    command = Parser(prog="fmlab runs", usage=USAGE, allow_abbrev=False)
    command.add_argument("folders", nargs="*", metavar="FOLDER", help="where to look: runs, or runs/digits (runs)")
    command.add_argument("--state", help="submitted, running, done, failed, interrupted, ...; several with commas")
    command.add_argument("--n", type=int, default=20, help="the newest so many (20)")
    command.add_argument("--watch", action="store_true", help="again every few seconds, until Ctrl-C")
    command.add_argument("--seconds", type=float, default=5.0, help="between two looks (5)")
    options = command.parse_args(argv)
    if options.n < 1 or options.seconds <= 0:
        raise UserError("at least 1 run, and a positive number of seconds", key="runs")
    options.folders = [_folder(name) for name in options.folders]
    if not options.watch:
        print(_table(options))
        return 0
    if not sys.stdout.isatty():
        while True:
            print(_table(options), flush=True)
            time.sleep(options.seconds)
    from rich.live import Live
    from rich.text import Text

    with Live(refresh_per_second=4) as live:
        while True:
            live.update(Text(_table(options), no_wrap=True))
            time.sleep(options.seconds)


def _folder(name: str) -> str:
    """A folder, or the name of an experiment or a sweep in `runs`."""
    if Path(name).is_dir():
        return name
    if (Path("runs") / name).is_dir():
        return str(Path("runs") / name)
    known = [place.name for place in Path("runs").glob("*")]
    raise UserError("no such folder, nor an experiment in runs", key=name, hint=nearest(name, known))


def _table(options: argparse.Namespace) -> str:
    from fmlab.launch.overview import COLUMNS, overview

    states = set(options.state.split(",")) if options.state else None
    rows = overview([Path(folder) for folder in options.folders or ["runs"]], options.n, states)
    if not rows:
        where = ", ".join(options.folders or ["runs"])
        return f"no runs{' in that state' if states else ''} in {where}"
    lines = [COLUMNS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip() for line in lines)
