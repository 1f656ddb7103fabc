"""What a break of the code is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One break: `old` becomes `new` in `file`, and one of `tests` must notice."""

    what: str
    file: str
    old: str
    new: str
    tests: str
