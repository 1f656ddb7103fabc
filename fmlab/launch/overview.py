"""What runs are doing, from their records and the queue: the rows of `fmlab runs`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmlab.errors import UserError
from fmlab.launch.slurm.client import read_queue
from fmlab.records import RunLayout, Status, read_metrics, read_status
from fmlab.records.bounded import read_json_object, read_yaml_mapping
from fmlab.records.layout import created

COLUMNS = ("run", "state", "step", "speed", "best", "job", "updated")

_UNFINISHED = ("submitted", "interrupted", "preempted", "running", "unknown")
"""States of which the queue may know more than the record."""
_PENDING = ("pending", "requeued", "configuring", "suspended")
_ENDED_BADLY = ("failed", "cancelled", "timeout", "node_fail", "out_of_memory", "boot_fail", "deadline")


def overview(folders: Sequence[Path], count: int, states: set[str] | None = None) -> list[tuple[str, ...]]:
    """Returns the rows (see `COLUMNS`) of the newest runs in folders of experiments or runs, or of those in states."""
    runs = sorted({run for folder in folders for run in _runs_in(folder)}, key=created, reverse=True)
    layouts = [RunLayout(run) for run in (runs if states else runs[:count])]
    records = [(layout, read_status(layout), _job(layout)) for layout in layouts]
    queue = read_queue(job for _, status, job in records if job is not None and status.state in _UNFINISHED)
    rows = []
    for layout, status, job in records:
        state = _combine(status.state, queue.get(job or "", ""))
        if states is None or {state, status.state} & states:
            rows.append(_row(layout, status, state, job))
    return rows[:count]


def _runs_in(folder: Path) -> list[Path]:
    """The runs in a folder, in its folders, or the folder itself."""
    paths = [folder, *folder.glob("*"), *folder.glob("*/*")]
    return [path for path in paths if (path / "config.yaml").is_file() and (path / "command.txt").is_file()]


def _job(layout: RunLayout) -> str | None:
    job = read_json_object(layout.root / "slurm.json").get("job")
    return None if job is None else str(job)


def _combine(recorded: str, queued: str) -> str:
    """The run's own state, unless the queue knows better: of a job that waits, or that is gone."""
    if queued in _PENDING:
        return "pending" if recorded == "submitted" else f"{recorded}, pending"
    if queued in _ENDED_BADLY and recorded in ("submitted", "running"):
        return queued.replace("_", " ")
    return recorded


def _row(layout: RunLayout, status: Status, state: str, job: str | None) -> tuple[str, ...]:
    config = _config(layout)
    most = _section(config, "trainer").get("max_steps")
    step = f"{status.step}/{most}" if isinstance(most, int) and most > 0 else str(status.step)
    bad = ""
    try:
        metrics = read_metrics(layout.metrics) if layout.metrics.exists() else []
    except UserError as error:  # the other runs are still to be seen
        metrics, bad = [], f"metrics.csv: {error.message}"
    speeds = [row["perf/images_per_second"] for row in metrics if "perf/images_per_second" in row]
    speed = f"{speeds[-1]:.0f} images/s" if speeds else ""
    job = job or status.life.partition(":")[0]  # a sweep's trial knows its job once it runs
    best = bad or _best(metrics, _section(config, "checkpoint"))
    return f"{layout.experiment}/{layout.id}", state, step, speed, best, job, _ago(status.updated)


def _best(rows: Sequence[dict[str, float]], checkpoint: dict[str, Any]) -> str:
    """The best value of the metric by which the best checkpoint is chosen."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("val/"))
    prefixes = [str(checkpoint["monitor"])] if checkpoint.get("monitor") else ["val/fid", "val/w2", "val/loss"]
    name = next((name for prefix in prefixes for name in names if name.startswith(prefix)), None)
    values = [row[name] for row in rows if name in row and math.isfinite(row[name])] if name else []
    if not values:
        return ""
    return f"{name} {max(values) if checkpoint.get('mode') == 'max' else min(values):.4g}"


def _config(layout: RunLayout) -> dict[str, Any]:
    try:
        return read_yaml_mapping(layout.config)
    except UserError:
        return {}


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _ago(updated: float) -> str:
    """How long ago, in the largest whole unit."""
    if not updated:
        return ""
    seconds = max(0, int(time.time() - updated))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
