"""What runs are doing, from their records and the queue."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fmlab.launch.slurm.client import read_queue
from fmlab.records import RunLayout, read_metrics, read_status
from fmlab.records.layout import created

_WAITING = ("submitted", "interrupted", "preempted", "running", "unknown")
"""States of which the queue may know more."""


def overview(folders: Sequence[Path], count: int, states: set[str] | None = None) -> list[tuple[str, ...]]:
    """Rows (run, state, step, speed, best, job, last sign) of the newest runs, the newest first.

    Args:
        folders: Where runs lie: a folder of experiments, an experiment, or a run.
        count: The newest so many.
        states: Only these; all if None.
    """
    found = sorted({run for folder in folders for run in _runs(folder)}, key=created, reverse=True)
    if states is None:
        found = found[:count]
    layouts = [RunLayout(run) for run in found]
    jobs = {layout.root: _job(layout) for layout in layouts}
    known = {layout.root: read_status(layout) for layout in layouts}
    asked = [jobs[root] for root, status in known.items() if jobs[root] and status.state in _WAITING]
    waiting = read_queue(filter(None, asked))
    rows: list[tuple[str, ...]] = []
    for layout in layouts:
        status, job = known[layout.root], jobs[layout.root]
        state = status.state if job is None or job not in waiting else _told(status.state, waiting[job])
        if states is None or state in states or status.state in states:
            shown = job or status.life.partition(":")[0]  # a sweep's trial knows its job once it runs
            rows.append((_name(layout), state, *_progress(layout, status.step), shown, _ago(status.updated)))
    return rows[:count]


def _runs(folder: Path) -> list[Path]:
    """The runs in a folder, in its folders, or the folder itself."""
    places = [folder, *folder.glob("*"), *folder.glob("*/*")]
    return [place for place in places if (place / "config.yaml").is_file() and (place / "command.txt").is_file()]


def _name(layout: RunLayout) -> str:
    return f"{layout.experiment}/{layout.id}"


def _job(layout: RunLayout) -> str | None:
    try:
        return str(json.loads((layout.root / "slurm.json").read_text())["job"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _told(said: str, queued: str) -> str:
    """What the queue says, where the run itself says nothing newer: a job that waits, or that is gone."""
    if queued in ("pending", "requeued", "configuring", "suspended"):
        return "pending" if said == "submitted" else f"{said}, pending"
    gone = queued in ("failed", "cancelled", "timeout", "node_fail", "out_of_memory", "boot_fail", "deadline")
    return queued.replace("_", " ") if gone and said in ("submitted", "running") else said


def _progress(layout: RunLayout, step: int) -> tuple[str, str, str]:
    """Step of how many, speed, best score."""
    config = _config(layout)
    most = (config.get("trainer") or {}).get("max_steps")
    at = f"{step}/{most}" if isinstance(most, int) and most > 0 else str(step)
    rows = read_metrics(layout.metrics) if layout.metrics.is_file() else []
    speed = next((row["perf/images_per_second"] for row in reversed(rows) if "perf/images_per_second" in row), None)
    return at, "" if speed is None else f"{speed:.0f} images/s", _best(rows, config.get("checkpoint") or {})


def _best(rows: Sequence[dict[str, float]], checkpoint: dict[str, Any]) -> str:
    """The best value of what the checkpoints go by."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("val/"))
    wanted = [checkpoint["monitor"]] if checkpoint.get("monitor") else ["val/fid", "val/w2", "val/loss"]
    name = next((name for start in wanted for name in names if name.startswith(start)), None)
    values = [row[name] for row in rows if name in row and math.isfinite(row[name])] if name else []
    if not values:
        return ""
    return f"{name} {max(values) if checkpoint.get('mode') == 'max' else min(values):.4g}"


def _config(layout: RunLayout) -> dict[str, Any]:
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(layout.config.read_text(), loader)
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _ago(updated: float) -> str:
    """How long ago, in the largest whole unit."""
    if not updated:
        return ""
    seconds = max(0.0, time.time() - updated)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"
