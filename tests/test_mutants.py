"""The table of breaks fits the code, so that `tests/mutants.py` can apply each of them."""

from __future__ import annotations

import mutants


def test_every_break_can_be_applied() -> None:
    breaks = mutants.read_breaks(mutants.TABLE.read_text(encoding="utf-8"))
    assert len({each.what for each in breaks}) == len(breaks) > 100
    causes = {each.what: mutants.obstacle(each) for each in breaks}
    assert {what: cause for what, cause in causes.items() if cause} == {}
