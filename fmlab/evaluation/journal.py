"""What an evaluation has done so far, so that a repeated one goes on: finished rows, and statistics half way."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fmlab.records.atomic import append, atomic_write_bytes, make_folder
from fmlab.records.measurements import Row, read_rows


class Journal:
    """Finished rows, one per line, in `rows.jsonl`: a kill costs at most the row being written.

    Args:
        folder: The evaluation's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "rows.jsonl"

    def rows(self) -> dict[str, Row]:
        """The rows by their key, in the order in which they were finished."""
        return {row.key: row for row in read_rows(self.file)}

    def append(self, row: Row) -> None:
        """Adds a row, in one write that is on the disk when this returns."""
        torn = self.file.exists() and self.file.read_bytes()[-1:] not in (b"\n", b"")
        append(self.file, ("\n" * torn + row.line() + "\n").encode(), sync=True)

    def progress(self, key: str, rank: int, count: int, batch_size: int, stored: bool = False) -> Progress:
        """How far one process's share of a row is, whose samples are stored or not."""
        file = self.folder / "partial" / f"{key[:16]}.{rank}of{count}.pt"
        return Progress(file, [key, rank, count, batch_size, stored])

    def forget_progress(self, key: str) -> None:
        """Removes the statistics half way of a row that is finished."""
        for file in (self.folder / "partial").glob(f"{key[:16]}.*"):
            file.unlink(missing_ok=True)


@dataclass
class Progress:
    """How far one process is with its share of a row, and the file that keeps it: it is whole or not there.

    Attributes:
        file: The file.
        identity: Whose statistics they are; what was saved for another row or another division of it does not count.
        batches: Batches done, of its share in order.
        forwards: Network forwards, summed over the samples.
        seconds: Time spent.
        state: The metrics' state.
    """

    file: Path
    identity: list[Any]
    batches: int = 0
    forwards: float = 0.0
    seconds: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Progress:
        """What was saved; at the beginning if nothing that fits was."""
        try:
            saved = torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception:  # missing, or of another version: the row is made anew
            return self
        if not isinstance(saved, dict) or saved.pop("identity", None) != self.identity:
            return self
        return Progress(self.file, self.identity, **saved)

    def forget(self) -> None:
        """Removes what was saved, so that no later pass goes on from it."""
        self.file.unlink(missing_ok=True)

    def save(self) -> None:
        """Keeps it."""
        buffer = io.BytesIO()
        torch.save({name: value for name, value in vars(self).items() if name != "file"}, buffer)
        make_folder(self.file.parent)
        atomic_write_bytes(self.file, buffer.getvalue())
