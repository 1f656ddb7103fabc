"""The benchmark of the excess loss measures what the callback does, and writes its own section alone."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fmlab.data import Digits
from fmlab.networks import MLP
from fmlab.objectives import Mean
from fmlab.training.generative_module import FlowMatching
from fmlab.training.loss_floor import LossFloor


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    yield
    for name in ("excess_loss", "results_page"):
        sys.modules.pop(name, None)


def test_it_measures_what_the_callback_does(tmp_path: Path) -> None:
    from excess_loss import draw, measure, section, table

    data, module = Digits(limit=30), FlowMatching(MLP((1, 8, 8), num_classes=10, width=8, depth=1), num_classes=10)
    means = measure(module, data, 100, 30, torch.device("cpu"))
    plugin = SimpleNamespace(forward_context=contextlib.nullcontext)
    trainer = SimpleNamespace(callbacks=[], datamodule=data, global_rank=0, world_size=1, precision_plugin=plugin)
    callback = LossFloor(num_samples=100, batch_size=30)
    callback.on_fit_start(trainer, module)
    with torch.no_grad():
        torch.testing.assert_close(means.totals, callback.measure(trainer, module).totals)
    lines = table(means).splitlines()
    assert len(lines) == 13
    assert lines[-1].startswith("| all | 100 | ")
    assert table(means) in section(means, "setting", "command", "picture.png")
    draw(means, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_means_are_shown_with_their_errors() -> None:
    from excess_loss import shown

    assert shown(Mean(0.123456, 0.00123, 10)) == "0.1235 ± 0.0012"
    assert shown(Mean(0.123456, 1e-9, 10)) == "0.12346 ± 0.00000"
    assert shown(Mean(12.3456, 2.3, 10)) == "12.3 ± 2.3"
    assert shown(Mean(1.0, float("nan"), 1)) == ""


def test_a_section_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    from results_page import write_section

    page = tmp_path / "docs" / "results.md"
    write_section("first", "one", page)
    write_section("second", "two", page)
    before = page.read_text()
    write_section("first", "another", page)
    assert page.read_text() == before.replace("one", "another")
    write_section("first", "one", page)
    assert page.read_text() == before
    assert before.startswith("# Results\n")
