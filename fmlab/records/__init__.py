"""The files of a run: where they lie, how they are written, what they say. It imports nothing heavy."""

from fmlab.records.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text
from fmlab.records.csv_metrics import CsvMetrics, count_rows, keep_rows, read_metrics
from fmlab.records.layout import RunLayout, find_run, new_run
from fmlab.records.meta import TRIAL, TRIAL_SWEEP, read_meta, sweep_of_process, trial_folder, write_meta
from fmlab.records.status import (
    State,
    Status,
    is_process_alive,
    is_this_machine,
    process_mark,
    read_status,
    write_status,
)

__all__ = [
    "TRIAL",
    "TRIAL_SWEEP",
    "CsvMetrics",
    "RunLayout",
    "State",
    "Status",
    "atomic_write_bytes",
    "atomic_write_json",
    "atomic_write_text",
    "count_rows",
    "find_run",
    "is_process_alive",
    "is_this_machine",
    "keep_rows",
    "new_run",
    "process_mark",
    "read_meta",
    "read_metrics",
    "read_status",
    "sweep_of_process",
    "trial_folder",
    "write_meta",
    "write_status",
]
