"""`metrics.csv`: a row for each report, appended; a new metric adds a column; a kill costs at most one row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from fmlab.errors import UserError
from fmlab.records.atomic import append, atomic_write_text

STEP = "step"
_HINT = "was it saved by a spreadsheet, or cut? put back the file of the run"


class CsvMetrics:
    """Appends rows of metrics to a file; nothing is read or written before the first row.

    Args:
        path: The file, which may exist: a resumed run continues it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a row; a metric that was never seen adds a column, empty in the rows before."""
        if self._columns is None:
            self._columns = self._reopen()
        new = [name for name in values if name not in self._columns]
        if new:
            rows = _read(self.path)[1]
            self._columns = [*(self._columns or [STEP]), *new]
            _rewrite(self.path, self._columns, rows)
        row = {**{name: _text(value) for name, value in values.items()}, STEP: str(int(step))}
        append(self.path, _lines([[row.get(name, "") for name in self._columns]]).encode())

    def _reopen(self) -> list[str]:
        """The columns of the file, after a torn last line is cut off."""
        if not self.path.is_file():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            atomic_write_text(self.path, whole.decode())
        return _read(self.path)[0]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file, each with the metrics it has; `step` is an integer.

    Raises:
        UserError: If there is no such file, or what should be a number is none.
    """
    if not path.is_file():
        raise UserError("there are no metrics", key=str(path))
    rows = _read(path)[1]
    return [{name: _number(path, name, text) for name, text in row.items()} for row in rows]


def read_columns(path: Path, select: Callable[[str], bool]) -> dict[str, tuple[list[int], list[float]]]:
    """The same by column: the steps and the values of each selected metric that has any."""
    names, rows = _cells(path)
    columns = {}
    for index, name in enumerate(names):
        if name != STEP and select(name):
            pairs = [(int(_number(path, STEP, row[0])), _number(path, name, row[index])) for row in rows if row[index]]
            if pairs:
                columns[name] = ([step for step, _ in pairs], [value for _, value in pairs])
    return columns


def count_rows(path: Path) -> int:
    """How many whole rows there are; a checkpoint remembers it."""
    if not path.is_file():
        return 0
    return max(path.read_bytes().count(b"\n") - 1, 0)  # one line is the columns


def keep_rows(path: Path, count: int) -> None:
    """Cuts the file back to its first rows, as many as there were when a checkpoint was written."""
    if path.exists():
        columns, rows = _read(path)
        _rewrite(path, columns, rows[:count])


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and whole rows of a file, each with the metrics it has."""
    columns, rows = _cells(path)
    return columns, [{name: value for name, value in zip(columns, row) if value} for row in rows]


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and whole rows of a file, the step first; a last line that is torn is no row.

    Raises:
        UserError: If the file is not one that `CsvMetrics` wrote: a spreadsheet may have saved it, or somebody cut it.
    """
    if not path.is_file():
        return [], []
    text = path.read_bytes().decode(errors="replace")
    try:
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
    except csv.Error as error:
        raise UserError(f"is no table: {error}", key=str(path), hint=_HINT) from error
    if not lines:
        return [], []
    columns, *rows = lines
    if columns[:1] != [STEP]:
        first = columns[0][:40] if columns else ""
        raise UserError(f"its first column is {first!r}, not {STEP}", key=str(path), hint=_HINT)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise UserError(f"row {number} has {len(row)} cells, not {len(columns)}", key=str(path), hint=_HINT)
    return columns, rows


def _rewrite(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    if columns:
        atomic_write_text(path, _lines([columns, *([row.get(name, "") for name in columns] for row in rows)]))


def _lines(rows: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _number(path: Path, name: str, text: str) -> float:
    """A step or a value.

    Raises:
        UserError: If the text is no number.
    """
    try:
        return int(text) if name == STEP else float(text)
    except ValueError:
        raise UserError(f"{text[:40]!r} is no number", key=f"{path}: {name[:40]}", hint=_HINT) from None


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
