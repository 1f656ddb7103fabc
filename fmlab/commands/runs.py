"""`fmlab runs`: a table of runs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt

from fmlab.commands.shared import Count
from fmlab.config.options import Positional
from fmlab.errors import UserError, nearest


@dataclass(frozen=True, kw_only=True)
class RunsOptions:
    """Prints the newest runs.

      fmlab runs digits --state running,failed
      fmlab runs --watch

    Args:
        folders: Where to look: runs, runs/digits or digits; runs if left out.
        state: Only runs in these states: submitted, running, done, failed, interrupted, ...
        limit: How many runs are shown.
        watch: Print them again every few seconds, until Ctrl-C.
        seconds: The time between two looks, with --watch.
    """

    folders: Annotated[tuple[str, ...], Positional("FOLDER")] = ()
    state: tuple[str, ...] = ()
    limit: Count = 20
    watch: bool = False
    seconds: Annotated[float, Gt(0)] = 5.0


def run(options: RunsOptions) -> int:
    """Prints the table, once or again and again."""
    folders = [_find_folder(name) for name in options.folders] or [Path("runs")]
    if not options.watch:
        print(_table(folders, options))
        return 0
    if not sys.stdout.isatty():
        while True:
            print(_table(folders, options), flush=True)
            time.sleep(options.seconds)
    from rich.live import Live
    from rich.text import Text

    with Live(refresh_per_second=4) as live:
        while True:
            live.update(Text(_table(folders, options), no_wrap=True))
            time.sleep(options.seconds)


def _find_folder(name: str) -> Path:
    """A folder, or the name of an experiment or a sweep in `runs`."""
    for folder in (Path(name), Path("runs") / name):
        if folder.is_dir():
            return folder
    experiments = [folder.name for folder in Path("runs").glob("*")]
    raise UserError("no such folder, nor an experiment in runs", key=name, hint=nearest(name, experiments))


def _table(folders: list[Path], options: RunsOptions) -> str:
    from fmlab.launch.overview import COLUMNS, overview

    states = set(options.state) or None
    rows = overview(folders, options.limit, states)
    if not rows:
        return f"no runs{' in that state' if states else ''} in {', '.join(map(str, folders))}"
    lines = [COLUMNS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
