"""What a sweep shows: a live table on a terminal, elsewhere a line for each change."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fmlab.launch.sweep.command import describe_parameters, describe_value
from fmlab.launch.sweep.ledger import HIDDEN, Ledger, TrialView

_COLOURS = {"waiting": "dim", "running": "cyan", "done": "green", "pruned": "yellow", "failed": "red"}
_RANK = {"running": 0, "failed": 2, "waiting": 3}


class Board:
    """Shows trials, their state and the best so far, while it is entered."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.sweep = ledger, ledger.sweep
        self.console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._live = Live(console=self.console, refresh_per_second=2) if self.console.is_terminal else None
        self._shown: dict[int, str] = {}

    def __enter__(self) -> Board:
        views = self.ledger.views()
        print(f"sweep      {self.ledger.folder}: {self.summarize(views)}", flush=True)
        self._shown = {view.number: view.state for view in views if view.state != "running"}
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, views: Sequence[TrialView]) -> None:
        """Shows the trials as they are now."""
        if self._live is not None:
            self._live.update(self.table(views))
            return
        for view in views:
            # A trial that was just taken has no parameters for a moment.
            if self._shown.get(view.number) != view.state and (view.parameters or view.state == "waiting"):
                self._shown[view.number] = view.state
                self.console.print(self.line(view, views), markup=False)

    def line(self, view: TrialView, views: Sequence[TrialView]) -> str:
        """Writes one trial's change in one line."""
        parts = [f"{view.number + 1:>3}/{len(views)}", f"{view.state:7}", self._describe(view)]
        if view.state in ("done", "pruned") and view.value is not None:
            parts.append(f"{self.sweep.metric_name} {view.value:.4g}")
        if view.ended:
            parts.append(f"({view.seconds:.0f} s)")
        best = self.ledger.best(views)
        if best is not None and view.state == "done":
            parts.append(f"best {best.value:.4g}" if best.number != view.number else "the best so far")
        return "  ".join([*parts, *([view.reason] if view.reason else [])])

    def table(self, views: Sequence[TrialView]) -> Group:
        """Draws the trials that run, then the best, as many as the terminal has room for."""
        metric, sign = self.sweep.metric_name, -1 if self.sweep.maximize else 1
        best = self.ledger.best(views)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("trial", "state", *self.sweep.varied, *([metric] if metric else []), "seconds", ""):
            table.add_column(Text(name), overflow="fold", justify="right" if name in (metric, "seconds") else "left")

        def order(view: TrialView) -> tuple[int, float, int]:
            return _RANK.get(view.state, 1), sign * view.value if view.value is not None else 0.0, view.number

        room = max(3, self.console.size.height - 6)
        for view in sorted(views, key=order)[:room]:
            values = [describe_value(view.parameters[name]) if view.parameters else "" for name in self.sweep.varied]
            number = [] if not metric else ["" if view.value is None else f"{view.value:.4g}"]
            note = view.reason or ("best" if best is not None and best.number == view.number else "")
            cells = [str(view.number + 1), view.state, *values, *number, f"{view.seconds:.0f}", note]
            style = _COLOURS[view.state] + (" bold" if note == "best" else "")
            table.add_row(*(Text(cell, overflow="fold") for cell in cells), style=style)
        return Group(table, Text(self.summarize(views), style="bold"))

    def summarize(self, views: Sequence[TrialView]) -> str:
        """Counts the trials in each state, and names the best value."""
        counts = {state: sum(view.state == state for view in views) for state in _COLOURS}
        text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        best = self.ledger.best(views)
        return text + ("" if best is None else f"; best {self.sweep.metric_name} {best.value:.4g}")

    def conclude(self) -> None:
        """Prints what failed, why and where its log is, and which trial is the best."""
        views = self.ledger.views()
        for view in [view for view in views if view.state == "failed"][:10]:
            print(f"failed     {self._describe(view)}: {view.reason or 'no reason is recorded'}")
            print(f"           {self.ledger.folder / HIDDEN / 'logs' / view.folder.name}.txt")
        best = self.ledger.best(views)
        print(f"trials     {self.summarize(views)}")
        if best is not None:
            print(f"best       {best.folder}  {self._describe(best)}")
        sys.stdout.flush()

    def _describe(self, view: TrialView) -> str:
        """The parameters that set a trial apart."""
        return describe_parameters({name: view.parameters[name] for name in self.sweep.varied if view.parameters})
