"""The benchmark's bare loop trains what the command trains, and its sums are right."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from fmlab.config.prepare import prepare
from fmlab.training.assemble import assemble, trainer_section
from fmlab.training.optimisation import WarmupCosine

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("overhead", "bare_loop", "clock", "clock_callback", "plain_lightning"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_both_sides_start_from_the_same_weights(tmp_path: Path, precision: str) -> None:
    from bare_loop import train
    from clock import Clock
    from overhead import fit_words, recipe_of

    tiny = ["--model.network.width=16", "--model.network.depth=1", "--trainer.accelerator=cpu"]
    prepared = prepare(fit_words("digits", 4, tmp_path, tiny))
    measured = train(recipe_of(prepared, precision, 1, 4, tmp_path / "split.pt")).measurement()
    assert measured.milliseconds > 0

    prepared.config["trainer"] = trainer_section({**prepared.config, "trainer": {"accelerator": "cpu"}})
    clock = Clock(1, 2, torch.device("cpu"))
    clock.start(assemble(prepared, str(tmp_path)).model.network)
    clock.tick(1)
    clock.tick(2)
    assert clock.measurement().weights == measured.weights


def test_the_loop_follows_the_shipped_schedule() -> None:
    from bare_loop import schedule

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    shipped = WarmupCosine(optimizer, total_steps=50, warmup_steps=10)
    assert [schedule(step, 10, 50) for step in range(50)] == pytest.approx([shipped.factor(step) for step in range(50)])


def test_the_summary_of_known_times() -> None:
    from clock import Measurement
    from overhead import summarize

    def run(milliseconds: float, **other: Any) -> Measurement:
        values = {"memory": 1.0, "memory_before": 1.0, "threads": 1, "weights": "a", **other}
        return Measurement(milliseconds, milliseconds, **values)

    summary = summarize([{"fmlab": run(11.0 * scale), "bare": run(10.0 * scale)} for scale in (1, 2, 3)])
    assert summary["ratio"] == pytest.approx(1.1)
    assert summary["ratio_interval"] == pytest.approx([1.1, 1.1])
    assert summary["difference"] == pytest.approx(2.0)
    assert summary["difference_interval"] == pytest.approx(
        [2 - 4.303 / math.sqrt(3), 2 + 4.303 / math.sqrt(3)], abs=1e-3
    )
    assert summary["goal"] == pytest.approx(1.2)
    assert not summary["reached"]
    with pytest.raises(SystemExit, match="same weights"):
        summarize([{"fmlab": run(1.0), "bare": run(1.0, weights="b")}])


def test_plain_lightning_takes_the_steps_of_the_bare_loop(tmp_path: Path) -> None:
    """The same draws in the same order, so the same weights in the end."""
    from bare_loop import BareLoop
    from overhead import fit_words, recipe_of
    from plain_lightning import Batches, PlainModule, train

    tiny = ["--model.network.width=16", "--model.network.depth=1", "--trainer.accelerator=cpu"]
    recipe = recipe_of(prepare(fit_words("digits", 30, tmp_path, tiny)), "32-true", 2, 30, tmp_path / "split.pt")
    bare, plain = BareLoop(recipe), BareLoop(recipe)
    torch.manual_seed(1)
    for _ in range(30):
        bare.step()
    torch.manual_seed(1)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_steps=30, max_epochs=-1, enable_model_summary=False, **quiet)
    trainer.fit(PlainModule(plain), Batches(plain))
    for mine, theirs in zip(plain.parameters + plain.averages, bare.parameters + bare.averages):
        torch.testing.assert_close(mine, theirs)

    recipe.save(tmp_path / "recipe.json")
    train(tmp_path / "recipe.json", 2, 7, 4, tmp_path / "times.json")
    pairs = json.loads((tmp_path / "times.json").read_text())
    assert len(pairs) == 4
    assert all(milliseconds > 0 for pair in pairs for milliseconds in pair)
